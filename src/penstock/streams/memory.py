"""Streams in this process's memory: gone when it ends. For tests, and for those who keep nothing.

Here "in the log" means handed over: there is nothing that could still fail.
"""

import asyncio
from asyncio import Future, get_running_loop
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from penstock.config.schema import Streams
from penstock.core.errors import (
    InternalError,
    InvalidRequestError,
    LogUnavailableError,
    UnknownStreamError,
)
from penstock.core.events import TERMINAL, Blob, Entry, Event, Seq, Start, StreamId
from penstock.core.ports import Head, LogStatus, StreamInfo, StreamState
from penstock.streams._states import state_after
from penstock.wire import json

CEILING: Final = 256 * 1024 * 1024
"""Bytes of ended streams kept at most, whatever `retention_bytes` allows on a disk."""
_DAY_MS: Final = 24 * 3600 * 1000


class _Stream:
    __slots__ = ("began", "bytes", "ended", "entries", "head", "last", "state", "waiters")

    def __init__(self, head: Head, size: int) -> None:
        self.head = head
        self.entries: list[Entry] = []
        self.state: StreamState = "live"
        self.began: int | None = None
        self.last = head.created
        self.ended: int | None = None
        self.bytes = size
        self.waiters: list[Future[None]] = []

    def wake(self) -> None:
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def line(self) -> StreamInfo:
        return StreamInfo(
            stream=self.head.stream,
            owner=self.head.owner,
            dialect=self.head.dialect,
            binding=self.head.binding,
            model=self.head.model,
            state=self.state,
            created=self.head.created,
            ended=self.ended,
            events=len(self.entries),
            bytes=self.bytes,
        )


class Reader:
    """A place in a stream of this process."""

    def __init__(self, log: "Log", stream: _Stream, after: int) -> None:
        self._log = log
        self._stream = stream
        self._after = max(after, 0)
        self._closed = False

    async def take(self) -> Sequence[Entry]:
        """See the port."""
        stream = self._stream
        while not self._closed:
            if len(stream.entries) > self._after:
                found = stream.entries[self._after :]
                self._after += len(found)
                return found
            if stream.state != "live":
                break
            if self._log.closed:
                raise LogUnavailableError("the stream log is closed")
            waiter = get_running_loop().create_future()
            stream.waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in stream.waiters:
                    stream.waiters.remove(waiter)
                raise
        return ()

    async def flow(self, sink: Callable[[Sequence[Entry]], bool]) -> None:
        """See the port: here `take` is as good."""

    def close(self) -> None:
        """See the port."""
        self._closed = True
        self._stream.wake()


class Log:
    """Built like every log; `folder` is not touched and nothing is ever synced."""

    def __init__(
        self,
        settings: Streams,
        folder: Path,
        now_ms: Callable[[], int],
        observe_latency: Callable[[float], None] | None = None,
    ) -> None:
        self._age_ms = int(settings.retention_days * _DAY_MS)
        self._room = min(settings.retention_bytes, CEILING)
        self._now_ms = now_ms
        self._observe = observe_latency
        self._streams: dict[str, _Stream] = {}
        self._ended: OrderedDict[str, _Stream] = OrderedDict()
        self._blobs: dict[str, dict[str, bytes]] = {}
        self._bytes = 0
        self.closed = False

    async def open(self) -> None:
        """Nothing to do."""

    def create(self, head: Head) -> None:
        """See the port. `InvalidRequestError` when the id was used before."""
        if self.closed:
            raise LogUnavailableError("the stream log is closed")
        if head.stream in self._streams:
            raise InvalidRequestError("this stream exists already", param="stream")
        self._make_room()
        stream = _Stream(head, len(json.encode(head)))
        self._streams[head.stream] = stream
        self._bytes += stream.bytes

    def _make_room(self) -> None:
        oldest_allowed = self._now_ms() - self._age_ms
        # Of a plain dict the oldest is found ever more slowly, the more were taken from its front.
        while self._ended:
            name = next(iter(self._ended))
            if self._bytes <= self._room and (self._ended[name].ended or 0) >= oldest_allowed:
                break
            self._forget(name)

    def _forget(self, name: str) -> None:
        stream = self._streams.pop(name)
        self._ended.pop(name, None)
        self._bytes -= stream.bytes + sum(map(len, self._blobs.pop(name, {}).values()))

    def append(self, stream: StreamId, events: Sequence[Event]) -> Seq:
        """See the port. `InternalError` when the stream has not begun or has ended."""
        found = self._find(stream)
        if self.closed:
            raise LogUnavailableError("the stream log is closed")
        if not events:
            return Seq(len(found.entries))
        if found.state != "live":
            raise InternalError("the stream has ended")
        if found.began is None and not isinstance(events[0], Start):
            raise InternalError("a stream begins with Start")
        found.last = now = max(self._now_ms(), found.last)
        if found.began is None:
            found.began = now
        first = len(found.entries) + 1
        ms = now - found.began
        found.entries += [Entry(Seq(first + n), ms, event) for n, event in enumerate(events)]
        size = sum(map(_size, events))
        found.bytes += size
        self._bytes += size
        if isinstance(events[-1], TERMINAL):
            found.state = state_after(events[-1])
            found.ended = now
            self._ended[stream] = found
        found.wake()
        if self._observe is not None:
            self._observe(0.0)
        return Seq(len(found.entries))

    def _find(self, stream: StreamId) -> _Stream:
        found = self._streams.get(stream)
        if found is None:
            raise UnknownStreamError("no such stream")
        return found

    async def settled(self, stream: StreamId) -> Seq:
        """See the port."""
        return Seq(len(self._find(stream).entries))

    def reader(self, stream: StreamId, after: Seq) -> Reader:
        """See the port."""
        return Reader(self, self._find(stream), after)

    async def head(self, stream: StreamId) -> Head:
        """See the port."""
        return self._find(stream).head

    async def info(self, stream: StreamId) -> StreamInfo:
        """See the port."""
        return self._find(stream).line()

    async def recent(self, owner: str | None, limit: int) -> Sequence[StreamInfo]:
        """See the port."""
        lines = [
            stream.line()
            for stream in self._streams.values()
            if owner is None or stream.head.owner == owner
        ]
        return sorted(lines, key=lambda line: (line.created, line.stream), reverse=True)[:limit]

    async def put_blob(self, stream: StreamId, data: bytes, media_type: str) -> Blob:
        """See the port."""
        if self.closed:
            raise LogUnavailableError("the stream log is closed")
        name = sha256(data).hexdigest()
        kept = self._blobs.setdefault(stream, {})
        if name not in kept:
            kept[name] = data
            self._bytes += len(data)
        return Blob(sha256=name, media_type=media_type, size=len(data))

    async def blob(self, stream: StreamId, sha256: str) -> bytes:
        """See the port."""
        data = self._blobs.get(stream, {}).get(sha256)
        if data is None:
            raise UnknownStreamError("this stream names no such blob")
        return data

    async def erase(self, stream: StreamId) -> None:
        """See the port. `InvalidRequestError` while the stream is live."""
        found = self._find(stream)
        if found.state == "live":
            raise InvalidRequestError("the stream is live: cancel it first", param="stream")
        self._forget(stream)

    def status(self) -> LogStatus:
        """See the port."""
        return LogStatus(
            writable=not self.closed,
            trouble=None,
            live=len(self._streams) - len(self._ended),
            bytes=self._bytes,
            backlog_bytes=0,
            unsynced_seconds=0.0,
        )

    async def aclose(self) -> None:
        """Readers of live streams are told that nothing more will come."""
        self.closed = True
        for stream in self._streams.values():
            stream.wake()


async def open_log(
    settings: Streams,
    folder: Path,
    now_ms: Callable[[], int],
    observe_latency: Callable[[float], None] | None = None,
) -> Log:
    """A log that is ready; see `Log` for what it is given."""
    log = Log(settings, folder, now_ms, observe_latency)
    await log.open()
    return log


def _size(event: Event) -> int:
    """About what an event takes in memory; its own texts counted, the rest a round figure."""
    text = getattr(event, "text", "") or getattr(event, "arguments", "")
    return 200 + len(text)
