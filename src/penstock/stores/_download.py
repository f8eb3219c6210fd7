"""One file over HTTP: goes on where it was cut, and knows at its end that it is the right one."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from typing_extensions import override

from penstock.core.errors import (
    EngineError,
    EngineProtocolError,
    EngineRefusedError,
    EngineTimeoutError,
    UnavailableError,
)
from penstock.stores._threads import finished

_PIECE: Final = 1024 * 1024
_READ: Final = 4 * 1024 * 1024
_SPARE: Final = 64 * 1024 * 1024
_OK: Final = 200
_PARTIAL: Final = 206
_PAST_THE_END: Final = 416


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A file to fetch. `headers` may hold a token: it goes to the host of `url` alone."""

    url: str
    headers: Mapping[str, str]
    sha256: str
    size: int
    quant: str = ""

    @override
    def __repr__(self) -> str:
        return f"Source({self.sha256[:12]}, {self.size} bytes)"


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """`silence`: seconds without a byte. `tries` that bring nothing new, `pause` between them."""

    connect: float = 10.0
    silence: float = 60.0
    tries: int = 4
    pause: float = 1.0


def free_bytes(folder: Path) -> int:
    """What the disk has left."""
    return shutil.disk_usage(folder).free


def check_room(folder: Path, needed: int, free: Callable[[Path], int]) -> None:
    """Raises `UnavailableError` when the disk would be full afterwards."""
    there = free(folder)
    if needed + _SPARE > there:
        raise UnavailableError(
            f"not enough room on the disk: {needed / 2**20:.0f} MiB are needed, "
            f"{there / 2**20:.0f} MiB are free"
        )


class Download:
    """Into `part`; its lock is held by the caller. What is there stays when it is closed early."""

    def __init__(self, source: Source, part: Path, note: Path, patience: Patience) -> None:
        self._source = source
        self._part = part
        self._note = note
        self._patience = patience
        self._hash = hashlib.sha256()
        self.at = 0

    async def run(self) -> AsyncGenerator[int]:
        """Yields how many bytes are there, now and then.

        At the end the part is whole, on the disk, and of the right digest. Raises `EngineError`
        and its kind; a part of a wrong digest is deleted first.
        """
        await asyncio.to_thread(self._take_up)
        yield self.at
        tries = self._patience.tries
        limits = aiohttp.ClientTimeout(
            sock_connect=self._patience.connect, sock_read=self._patience.silence
        )
        async with aiohttp.ClientSession(
            timeout=limits, trust_env=True, auto_decompress=False
        ) as session:
            while self.at < self._source.size:
                before = self.at
                try:
                    async with aclosing(self._go_on(session)) as bytes_there:
                        async for at in bytes_there:
                            yield at
                except EngineError as error:
                    tries = self._patience.tries if self.at > before else tries - 1
                    if not error.retryable or tries <= 0:
                        raise
                    await asyncio.sleep(self._patience.pause)
        await asyncio.to_thread(self._finish)

    def _take_up(self) -> None:
        """Reads what an earlier try left."""
        with suppress(FileNotFoundError), self._part.open("rb") as file:
            while piece := file.read(_READ):
                self._hash.update(piece)
                self.at += len(piece)
        if self.at > self._source.size:
            self._anew()

    def _anew(self) -> None:
        self._part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self._hash = hashlib.sha256()
        self.at = 0

    async def _go_on(self, session: aiohttp.ClientSession) -> AsyncGenerator[int]:
        headers = {**self._source.headers, "Accept-Encoding": "identity"}
        if self.at:
            headers["Range"] = f"bytes={self.at}-"
            tag = self._tag()
            if tag:
                # Another file by now is sent from its beginning.
                headers["If-Range"] = tag
        try:
            # aiohttp drops `Authorization` when it is redirected to another origin.
            async with session.get(self._source.url, headers=headers) as answer:
                await asyncio.to_thread(self._accept, answer)
                async with aclosing(self._store(answer)) as bytes_there:
                    async for at in bytes_there:
                        yield at
        except TimeoutError as error:
            raise EngineTimeoutError(f"the hub was silent for too long; {self._kept()}") from error
        except aiohttp.ClientError as error:
            raise EngineError(f"the connection to the hub broke; {self._kept()}") from error
        if self.at < self._source.size:
            raise EngineError(f"the hub sent too little; {self._kept()}")

    def _tag(self) -> str:
        try:
            return self._note.read_text()
        except OSError:
            return ""

    def _kept(self) -> str:
        return f"{self.at} of {self._source.size} bytes are kept, pull again to go on"

    def _accept(self, answer: aiohttp.ClientResponse) -> None:
        """Looks at an answer's head; begins anew where it holds the file from its beginning."""
        status = answer.status
        if status == _PAST_THE_END:
            self._anew()
            raise EngineError("the hub's file has changed; it is fetched anew")
        if status in (401, 403):
            raise EngineRefusedError(f"the hub refused the file ({status}); check HF_TOKEN")
        if status not in (_OK, _PARTIAL):
            gone = EngineError if status >= 500 or status == 429 else EngineRefusedError
            raise gone(f"the hub answered {status} for the file")
        if status == _OK:
            self._anew()
        else:
            self._check_range(answer.headers.get("Content-Range", ""))
        tag = answer.headers.get("ETag", "")
        # A weak tag promises nothing about bytes: no use for ranges (RFC 9110, 13.1.5).
        if tag and not tag.startswith("W/"):
            self._note.touch(mode=0o600)
            self._note.write_text(tag)

    def _check_range(self, said: str) -> None:
        if not said.startswith(f"bytes {self.at}-") or not said.endswith(f"/{self._source.size}"):
            self._anew()
            raise EngineProtocolError("the hub sent another range than was asked for")

    async def _store(self, answer: aiohttp.ClientResponse) -> AsyncGenerator[int]:
        """Bytes are hashed and written in a thread, a MiB at a time."""
        waiting = bytearray()
        try:
            async for data in answer.content.iter_any():
                waiting += data
                if self.at + len(waiting) > self._source.size:
                    waiting.clear()
                    self._anew()
                    raise EngineRefusedError("the hub sent more than the file has")
                if len(waiting) >= _PIECE:
                    piece, waiting = bytes(waiting), bytearray()
                    # Whoever takes the part up next must find it whole.
                    await finished(None, self._write, piece)
                    yield self.at
        finally:
            # Also when it was cut or closed: the next try has less to do.
            if waiting:
                self._write(bytes(waiting))
        yield self.at

    def _write(self, piece: bytes) -> None:
        try:
            descriptor = os.open(
                self._part, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
            with open(descriptor, "wb") as file:  # noqa: PTH123
                file.write(piece)
        except OSError as error:
            raise UnavailableError(f"the model can't be written: {error.strerror}") from error
        self._hash.update(piece)
        self.at += len(piece)

    def _finish(self) -> None:
        if self._hash.hexdigest() != self._source.sha256:
            self._anew()
            raise EngineRefusedError(
                "checksum mismatch: what arrived is not the file that the hub describes; it was "
                "deleted, pull again"
            )
        with self._part.open("rb") as file:
            os.fsync(file.fileno())
        self._note.unlink(missing_ok=True)
