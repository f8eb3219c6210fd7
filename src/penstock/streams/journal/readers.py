"""Places of readers: in a stream of this process, in an ended one, in one of another process."""

import asyncio
import os
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from penstock.core.errors import LogUnavailableError, UnknownStreamError
from penstock.core.events import TERMINAL, Entry, Seq, StreamId
from penstock.streams.journal._live import Flow, Live
from penstock.streams.journal._records import Record, is_whole, parse
from penstock.streams.journal.archive import Archive, read_at
from penstock.streams.journal.index import StreamRow

POLL_SECONDS: Final = 0.05
_CHUNK: Final = 256 * 1024
_NONE: Final[tuple[Entry, ...]] = ()

Sink = Callable[[Sequence[Entry]], bool]
Look = Callable[[StreamId], Awaitable[Live | StreamRow]]
"""Finds a stream; one of another process that has died is closed first."""


class LocalReader:
    """A place in a stream that this process writes.

    At the end it is given the very entries that the run made; further behind it reads the file.
    """

    def __init__(self, live: Live, after: Seq, archive: Archive) -> None:
        self._live = live
        self._after: int = after
        self._archive = archive
        self._over = False
        self._loop = get_running_loop()  # a system call in Python 3.11: not for every take

    async def take(self) -> Sequence[Entry]:
        """See the port."""
        live = self._live
        while not self._over:
            if live.erased:
                raise UnknownStreamError("this stream was forgotten")
            if live.seq > self._after:
                found = live.recent(self._after)
                if found is None:
                    began = live.began or 0
                    found = await self._archive.entries(live.runs, began, self._after)
                self._after = found[-1].seq
                self._over = isinstance(found[-1].event, TERMINAL)
                return found
            if live.state != "live":
                break
            if live.broken is not None and live.is_lost:
                raise LogUnavailableError(live.broken.message, retry_after=1.0)
            waiter = self._loop.create_future()
            live.waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in live.waiters:
                    live.waiters.remove(waiter)
                raise
        self._over = True
        return _NONE

    async def flow(self, sink: Sink) -> None:
        """See the port."""
        live = self._live
        if self._over or live.erased or live.broken is not None or live.state != "live":
            return
        if live.seq != self._after:
            return
        flow = Flow(self._after, sink, self._loop.create_future())
        live.flows.append(flow)
        try:
            await flow.ended
        finally:
            if flow in live.flows:
                live.flows.remove(flow)
            self._after = flow.seq
            self._over = self._over or (live.state != "live" and live.seq == self._after)

    def close(self) -> None:
        """See the port."""
        self._over = True
        self._live.wake()


class FarReader:
    """A place in a stream that this process does not write, or not any more."""

    def __init__(self, stream: StreamId, after: Seq, look: Look, archive: Archive) -> None:
        self._stream = stream
        self._after = after
        self._look = look
        self._archive = archive
        self._closed = False
        self._source: LocalReader | StreamRow | Follower | None = None

    async def take(self) -> Sequence[Entry]:
        """See the port."""
        while not self._closed:
            source = self._source
            if source is None:
                self._source = await self._find()
            elif isinstance(source, LocalReader):
                return await source.take()
            elif isinstance(source, StreamRow):
                if source.began is None or self._after >= source.info.events:
                    break
                return self._took(
                    await self._archive.entries(source.runs, source.began, self._after)
                )
            else:
                found = await self._archive.run(source.poll)
                if found:
                    return self._took(found)
                await asyncio.sleep(POLL_SECONDS)
                if not isinstance(again := await self._find(), Follower):
                    self._source = again
        self._closed = True
        return _NONE

    async def _find(self) -> "LocalReader | StreamRow | Follower":
        found = await self._look(self._stream)
        if isinstance(found, Live):
            return LocalReader(found, self._after, self._archive)
        if found.info.state == "live":
            return Follower(found, self._after, self._archive)
        return found

    async def flow(self, sink: Sink) -> None:
        """See the port."""
        if isinstance(self._source, LocalReader):
            await self._source.flow(sink)

    def _took(self, found: Sequence[Entry]) -> Sequence[Entry]:
        if not found or isinstance(found[-1].event, TERMINAL):
            self._closed = True
        if found:
            self._after = found[-1].seq
        return found

    def close(self) -> None:
        """See the port."""
        self._closed = True
        if isinstance(self._source, LocalReader):
            self._source.close()


class Follower:
    """Reads on in the segments of another process that lives. Used in one thread at a time."""

    def __init__(self, row: StreamRow, after: int, archive: Archive) -> None:
        self._archive = archive
        self._stream = row.info.stream.encode()
        self._writer = row.writer
        self._segment = row.runs[0].segment
        self._offset = row.runs[0][0][0]
        self._began: int | None = None
        self._after = after

    def poll(self) -> list[Entry]:
        """What was added since; nothing when nothing was."""
        found: list[Entry] = []
        while not found:
            # Whether there is a later segment is asked before the end of this one is seen: nothing
            # is added to a segment once the next one is there.
            later = self._later()
            found, whole = self._read()
            if not whole and not found:
                if later is None:
                    break
                self._segment, self._offset = later, 0
        return found

    def _later(self) -> str | None:
        names = sorted(path.name for path in self._archive.segments.glob(f"*-{self._writer}.seg"))
        return next((name for name in names if name > self._segment), None)

    def _read(self) -> tuple[list[Entry], bool]:
        path = self._archive.segments / self._segment
        size = _CHUNK
        while True:
            try:
                data = read_at(path, self._offset, size)
            except FileNotFoundError:
                raise UnknownStreamError("this stream was forgotten") from None
            found, used = self._scan(data)
            if used or len(data) < size:
                break
            size *= 4
        if found:
            _force(path)
        self._offset += used
        return found, used > 0

    def _scan(self, data: bytes) -> tuple[list[Entry], int]:
        found: list[Entry] = []
        at = 0
        while (record := parse(data, at)) is not None and is_whole(data, record):
            if record.stream == self._stream and not record.is_head:
                found += self._entries(data, record)
            at = record.end
        return found, at

    def _entries(self, data: bytes, record: Record) -> list[Entry]:
        if record.erased:
            raise UnknownStreamError("this stream was forgotten")
        if self._began is None:
            self._began = record.when
        if record.first + record.count <= self._after + 1:
            return []
        found = self._archive.events(data, record, self._began)
        found = [entry for entry in found if entry.seq > self._after]
        self._after = found[-1].seq
        return found


def _force(path: Path) -> None:
    # The writer may be one whose readers see nothing before it is on stable storage.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)
