"""How a content comes into the folder: from the hub, from a file here, from an upload."""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from contextlib import aclosing
from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple, Protocol, cast

from penstock.core import addresses
from penstock.core.errors import (
    ConfigError,
    GatewayError,
    InvalidRequestError,
    RequestTooLargeError,
    UnavailableError,
)
from penstock.core.events import Event, Progress
from penstock.stores._download import Download, Patience, Source, check_room
from penstock.stores._folder import Folder, settle
from penstock.stores._names import HubName, parts
from penstock.stores._threads import finished

Batches = AsyncGenerator[list[Event]]
Check = Callable[[Path], None]
"""Raises `ConfigError` for a file that is no whole model."""

_PIECE: Final = 4 * 1024 * 1024
_TELL_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 0.2
_ROOM_EVERY: Final = 64 * 1024 * 1024
_CLAIM_SECONDS: Final = 3600.0
"""Parts that are there wait for the others, perhaps for days, and must not be collected."""


class Taken(NamedTuple):
    """The digests of what was taken in, in the order of a model's parts."""

    digests: list[str]


class _HubModule(Protocol):
    def find(self, name: HubName) -> list[Source]: ...


def say(text: str) -> list[Event]:
    """One of Ollama's status lines."""
    return [Progress(what="fetching", text=text)]


def _bytes(text: str, sha256: str, at: int, of: int) -> list[Event]:
    return [Progress(what="fetching", text=text, digest=f"sha256:{sha256}", at=at, of=of)]


class Contents:
    """Brings contents in. `free` says how many bytes a folder's disk has left."""

    def __init__(
        self, folder: Folder, check: Check, free: Callable[[Path], int], patience: Patience
    ) -> None:
        self._folder = folder
        self._check = check
        self._free = free
        self._patience = patience

    async def find(self, name: HubName) -> list[Source]:
        """What the hub has: one file, or all parts of one.

        Raises `GatewayError`, `ConfigError` where its package is missing.
        """
        return await asyncio.to_thread(_hub().find, name)

    async def fetch(self, sources: Sequence[Source]) -> Batches:
        """From the hub. Of a model in parts the first comes last: by that one engines know that
        there is a model.
        """
        targets = self._folder.contents([source.sha256 for source in sources])
        if len(sources) > 1:
            check_room(self._folder.files, self._missing(sources, targets), self._free)
        loop = asyncio.get_running_loop()
        here: list[Path] = []
        claimed = loop.time()
        for source, target in reversed(list(zip(sources, targets, strict=True))):
            async with aclosing(self._fetch(source, target)) as batches:
                async for batch in batches:
                    if here and loop.time() - claimed > _CLAIM_SECONDS:
                        claimed = loop.time()
                        await asyncio.to_thread(self._claim, here)
                    yield batch
            here.append(target)
        if len(sources) > 1:
            await asyncio.to_thread(self._claim, here)

    def _missing(self, sources: Sequence[Source], targets: Sequence[Path]) -> int:
        return sum(
            source.size - _size(self._folder.part(source.sha256))
            for source, target in zip(sources, targets, strict=True)
            if not target.is_file()
        )

    def _claim(self, targets: Sequence[Path]) -> None:
        for target in targets:
            self._folder.claim(target)

    async def _fetch(self, source: Source, target: Path) -> Batches:
        """Two who want the same wait for each other, and then share it."""
        sha256 = source.sha256
        line = f"pulling {sha256[:12]}"
        part = self._folder.part(sha256)
        yield _bytes(line, sha256, _size(part), source.size)
        # Not in a thread: who is cancelled there would never learn what it holds.
        while (held := self._folder.try_lock(sha256)) is None:
            await asyncio.sleep(_LOOK_SECONDS)
            yield _bytes(line, sha256, _size(part), source.size)
        try:
            if not await asyncio.to_thread(self._folder.claim, target):
                async with aclosing(self._download(source, part, line)) as batches:
                    async for batch in batches:
                        yield batch
                await asyncio.to_thread(self._accept, part, target)
            yield _bytes(line, sha256, source.size, source.size)
        finally:
            os.close(held)

    async def _download(self, source: Source, part: Path, line: str) -> Batches:
        loop = asyncio.get_running_loop()
        check_room(part.parent, source.size - _size(part), self._free)
        work = Download(source, part, self._folder.note(source.sha256), self._patience)
        told = loop.time()
        async with aclosing(work.run()) as bytes_there:
            async for at in bytes_there:
                if loop.time() - told >= _TELL_SECONDS:
                    told = loop.time()
                    yield _bytes(line, source.sha256, at, source.size)
        yield say("verifying sha256 digest")

    def _accept(self, fresh: Path, target: Path) -> None:
        """Gives a content its place. What is no model is deleted."""
        try:
            self._check(fresh)
        except GatewayError as error:
            fresh.unlink(missing_ok=True)
            reason = error.message.replace(fresh.name, "the file")
            raise InvalidRequestError(reason, param="model") from error
        fresh.chmod(0o600)
        self._folder.place(fresh, target)

    async def take_in(self, path: Path) -> AsyncGenerator[list[Event] | Taken]:
        """A copy of a file of this machine, of a model in parts of all of them; what was taken
        comes last.

        Not a link: a content must stay what its name says, whatever becomes of the other file.
        """
        paths = parts(path)
        for each in paths:
            await asyncio.to_thread(self._check, each)
        check_room(self._folder.files, sum(map(_size, paths)), self._free)
        fresh = [self._folder.fresh() for _ in paths]
        digests: list[str] = []
        try:
            for source, copy in zip(paths, fresh, strict=True):
                digest = hashlib.sha256()
                async with aclosing(self._copy(source, copy, digest)) as batches:
                    async for batch in batches:
                        yield batch
                digests.append(digest.hexdigest())
            targets = self._folder.contents(digests)
            for copy, target in reversed(list(zip(fresh, targets, strict=True))):
                await asyncio.to_thread(self._accept, copy, target)
        finally:
            for copy in fresh:
                copy.unlink(missing_ok=True)
        yield Taken(digests)

    async def _copy(self, path: Path, fresh: Path, digest: "_Digest") -> Batches:
        loop = asyncio.get_running_loop()
        told, at, size, line = 0.0, 0, _size(path), f"copying {path.name}"
        pieces = _copied(path, fresh, digest)
        try:
            while (count := await finished(None, next, pieces, 0)) > 0:
                at += count
                if at < size and loop.time() - told >= _TELL_SECONDS:
                    told = loop.time()
                    yield [Progress(what="fetching", text=line, at=at, of=size)]
            yield [Progress(what="fetching", text=line, at=at, of=at)]
        finally:
            pieces.close()

    async def put(self, sha256: str, chunks: AsyncIterator[bytes], most: int) -> None:
        """An upload. Raises `InvalidRequestError` when its content is another,
        `RequestTooLargeError` past `most` bytes.
        """
        check_room(self._folder.files, 0, self._free)
        fresh, digest, size, checked = self._folder.fresh(), hashlib.sha256(), 0, 0
        try:
            async with aclosing(_pieces(chunks)) as pieces:
                async for piece in pieces:
                    size += len(piece)
                    if size > most:
                        raise RequestTooLargeError(f"larger than {most} bytes", param="digest")
                    if size - checked > _ROOM_EVERY:
                        check_room(self._folder.files, 0, self._free)
                        checked = size
                    await finished(None, _append, fresh, piece, digest)
            if not size:
                await finished(None, _append, fresh, b"", digest)
            if digest.hexdigest() != sha256:
                raise InvalidRequestError(
                    f"digest mismatch: the content is sha256:{digest.hexdigest()}", param="digest"
                )
            await asyncio.to_thread(_sync, fresh)
            await asyncio.to_thread(settle, fresh, self._folder.blob(sha256))
        finally:
            fresh.unlink(missing_ok=True)

    async def use_blob(self, sha256: str) -> None:
        """Makes an upload a content. Raises `InvalidRequestError`: not there, or no model."""
        target, blob = self._folder.content(sha256), self._folder.blob(sha256)
        if await asyncio.to_thread(self._folder.claim, target):
            return
        if not await asyncio.to_thread(self._folder.claim, blob):
            raise InvalidRequestError(f"there is no blob sha256:{sha256}", param="files")
        await asyncio.to_thread(self._accept, blob, target)


def _hub() -> _HubModule:
    """Loaded when needed: it takes a while, and its package is an extra, which trips over an
    address that is none.
    """
    _check_address(os.environ.get("HF_ENDPOINT", ""))
    try:
        return cast("_HubModule", import_module("penstock.stores._hub"))
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("penstock"):
            raise
        raise ConfigError(
            f"pulling from the hub needs {error.name!r}: pip install 'penstock[hub]'"
        ) from error


def _check_address(endpoint: str) -> None:
    """Raises `ConfigError`, without a password that may be in it."""
    if endpoint and addresses.parts_of(endpoint) is None:
        raise ConfigError("HF_ENDPOINT is no address; it looks like https://HOST")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


def _copied(path: Path, fresh: Path, digest: _Digest) -> Generator[int]:
    with path.open("rb") as source:
        while piece := source.read(_PIECE):
            _append(fresh, piece, digest)
            yield len(piece)
    _sync(fresh)


def _append(fresh: Path, piece: bytes, digest: _Digest) -> None:
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123
            file.write(piece)
    except OSError as error:
        raise UnavailableError(f"the file can't be written: {error.strerror}") from error
    digest.update(piece)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


async def _pieces(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Bytes in pieces worth a thread's while."""
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        if len(waiting) >= _PIECE:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)
