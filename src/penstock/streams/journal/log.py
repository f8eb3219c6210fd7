"""The journal behind the port `StreamLog`: segments, index and readers put together."""

import asyncio
import logging
from asyncio import get_running_loop
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from penstock.config.schema import Streams
from penstock.core.errors import (
    ConfigError,
    InternalError,
    InvalidRequestError,
    LogFullError,
    LogUnavailableError,
    UnknownStreamError,
)
from penstock.core.events import Blob, Entry, Event, Seq, Start, StreamId
from penstock.core.ports import Head, LogStatus, Reader, StreamInfo
from penstock.streams._states import state_after
from penstock.streams.journal import recovery, retention
from penstock.streams.journal._blobs import INLINE, Blobs
from penstock.streams.journal._detour import Detour, Payload
from penstock.streams.journal._endings import adopted, closing
from penstock.streams.journal._indexing import Indexing
from penstock.streams.journal._live import Live, info_of
from penstock.streams.journal._naming import named_by, named_by_head
from penstock.streams.journal._others import Others
from penstock.streams.journal._records import BATCH, HEAD, NAMES, STATES, pack
from penstock.streams.journal._retaining import Retaining
from penstock.streams.journal._segment import Handed
from penstock.streams.journal.archive import Archive
from penstock.streams.journal.index import StreamRow
from penstock.streams.journal.inspection import prepare
from penstock.streams.journal.readers import FarReader, LocalReader
from penstock.streams.journal.segments import Appender
from penstock.wire import json

DAY_MS: Final = 24 * 3600 * 1000
_WHAT: Final = {state: BATCH | n << 4 for n, state in enumerate(STATES)}
_log = logging.getLogger(__name__)


class Log:
    """Streams in segment files; see `docs/durability.md` for what is promised.

    All methods are for the loop on which `open` ran. `now_ms` is the clock, in milliseconds since
    the epoch; `observe_latency` is told, once a turn of the loop, the seconds between the first
    hand-over of the turn and its visibility to readers.
    """

    def __init__(
        self,
        settings: Streams,
        folder: Path,
        now_ms: Callable[[], int],
        observe_latency: Callable[[float], None] | None = None,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._now_ms = now_ms
        self._live: dict[str, Live] = {}
        segments = folder / "segments"
        self._appender = Appender(
            segments, settings.sync, settings.segment_bytes, now_ms, observe_latency
        )
        self._bounds = retention.Bounds(
            int(settings.retention_days * DAY_MS), settings.retention_bytes
        )
        self._appender.max_age_ms = min(DAY_MS, max(self._bounds.age_ms // 8, 1))
        self._blobs = Blobs(folder / "blobs")
        self._archive = Archive(folder, self._blobs)
        self._detour = Detour(folder, self._blobs, self._appender)
        self._indexing = Indexing(folder, self._appender, self._live)
        self._retaining = Retaining(
            segments, self._blobs, self._bounds, self._appender, self._indexing
        )
        self._appender.on_end = self._indexing.note
        self._appender.on_roll = self._retaining.after_roll
        self._keeping: set[str] = set()
        self._adopting = asyncio.Lock()
        self._others = Others(self._archive, self._appender.writer, self._adopt)
        self._closed = False

    async def open(self) -> None:
        """Takes over what dead processes left, and begins a segment of our own.

        Raises `ConfigError` when the folder can't be used at all. A disk that can be read and not
        written is no error: see `status`.
        """
        loop = get_running_loop()
        try:
            await loop.run_in_executor(None, prepare, self._folder)
        except OSError as error:
            raise ConfigError(
                f"streams.folder: can't be used: {error.strerror}", param="streams.folder"
            ) from error
        self._appender.start(loop, self._newest_name())
        await self._adopt()
        await self._indexing.call(
            lambda index: retention.erase(
                index, self._archive.segments, self._blobs, index.erasing()
            )
        )
        await self.retain()

    def _newest_name(self) -> int:
        found = recovery.names(self._archive.segments)
        return int(found[-1].partition("-")[0]) if found else 0

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def create(self, head: Head) -> None:
        """See the port. `InvalidRequestError` when the id was used before, or can't be one."""
        if head.stream in self._live:
            raise InvalidRequestError("this stream exists already", param="stream")
        if not (0 < len(head.stream) < 256 and head.stream.isascii()):
            raise InvalidRequestError("a stream's id has 1 to 255 ASCII characters", param="stream")
        self._writable()
        data = json.encode(head)
        self._spare(len(data))
        live = Live(info_of(head), head)
        live.last = self._now_ms()
        self._live[head.stream] = live
        self._indexing.note(live)
        handed = Handed(live, b"", (), 0, "live")
        what = HEAD
        if self._keeping and head.stream in self._keeping:
            what |= NAMES if named_by_head(head) else 0
        self._detour.hand_over(Payload(what, 0, live.last, data, handed))

    def append(self, stream: StreamId, events: Sequence[Event]) -> Seq:
        """See the port. `InternalError` when the stream has not begun or has ended."""
        live = self._live.get(stream)
        if live is None:
            raise UnknownStreamError("no such stream")
        if live.broken is not None or self._appender.trouble is not None:
            live.lose(self._appender.refusal())
            raise self._appender.refusal()
        if not events:
            return live.handed
        if live.promised != "live":
            raise InternalError("the stream has ended")
        if live.handed == 0 and not isinstance(events[0], Start):
            raise InternalError("a stream begins with Start")
        data = json.encode(events)
        self._spare(len(data))
        return self._extend(live, events, data)

    def _extend(self, live: Live, events: Sequence[Event], data: bytes) -> Seq:
        live.last = now = max(self._now_ms(), live.last)
        if live.began is None:
            live.began = now
        ms = now - live.began
        first = live.handed + 1
        state = state_after(events[-1])
        entries = [Entry(Seq(first + n), ms, event) for n, event in enumerate(events)]
        live.handed = entries[-1].seq
        live.promised = state
        what = _WHAT[state]
        if self._keeping and live.info.stream in self._keeping:
            what |= NAMES if named_by(events) else 0
            if state != "live":
                self._keeping.discard(live.info.stream)
        if len(data) <= INLINE and not self._detour.parked:
            record = pack(what, live.raw, first, len(entries), now, data)
            self._appender.backlog += len(record)
            self._appender.hand_over(Handed(live, record, entries, first, state))
        else:
            handed = Handed(live, b"", entries, first, state)
            self._detour.hand_over(Payload(what, len(entries), now, data, handed))
        return live.handed

    def _spare(self, size: int) -> None:
        backlog = self._appender.backlog
        if backlog and backlog + size > self._settings.max_backlog_bytes:
            raise LogFullError("too much waits to be written to the stream log", retry_after=1.0)

    def _writable(self) -> None:
        if self._closed:
            raise LogUnavailableError("the stream log is closed")
        if self._appender.trouble is None:
            return
        if not self._appender.probe():
            raise self._appender.refusal()
        self._close_broken()

    def _close_broken(self) -> None:
        """Ends the streams that lost something while the log could not be written."""
        for live in list(self._live.values()):
            if live.broken is not None:
                self._close(live)

    def _close(self, live: Live) -> None:
        if not live.head_logged:
            self._live.pop(live.info.stream)
            return
        live.broken = None
        self._detour.forget(live)
        if live.state != "live":
            return
        live.handed = live.seq
        live.promised = "live"
        events = closing(live)
        self._extend(live, events, json.encode(events))

    async def settled(self, stream: StreamId) -> Seq:
        """See the port."""
        live = self._live.get(stream)
        if live is None:
            return Seq((await self.info(stream)).events)
        while True:
            if live.broken is not None and live.is_lost and live.state == "live":
                raise LogUnavailableError(live.broken.message, retry_after=1.0)
            if live.head_logged and live.seq >= live.handed:
                return live.seq
            await live.change(self._appender.loop)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def reader(self, stream: StreamId, after: Seq) -> Reader:
        """See the port. A stream of another process, or an older one, is looked for at the first
        `take`, which is what then raises `UnknownStreamError`.
        """
        after = Seq(max(after, 0))
        live = self._live.get(stream)
        if live is None:
            return FarReader(stream, after, self._look, self._archive)
        return LocalReader(live, after, self._archive)

    async def head(self, stream: StreamId) -> Head:
        """See the port."""
        found = await self._look(stream)
        if isinstance(found, StreamRow):
            return await self._archive.head(found.runs)
        while not found.head_logged:
            if found.broken is not None:
                raise LogUnavailableError(found.broken.message, retry_after=1.0)
            await found.change(self._appender.loop)
        return found.head or await self._archive.head(found.runs)

    async def info(self, stream: StreamId) -> StreamInfo:
        """See the port."""
        found = await self._look(stream)
        return found.info if isinstance(found, StreamRow) else found.line()

    async def recent(self, owner: str | None, limit: int) -> Sequence[StreamInfo]:
        """See the port."""
        await self._others.have_left()
        # One that has ended may leave memory for the index while the index is asked.
        before = [live for live in self._live.values() if live.head_logged]
        lines = {line.stream: line for line in await self._archive.recent(owner, limit)}
        for live in (*before, *self._live.values()):
            if not live.erased and (owner is None or live.info.owner == owner):
                lines[live.info.stream] = live.line()
        newest = sorted(lines.values(), key=lambda line: (line.created, line.stream), reverse=True)
        return newest[:limit]

    async def _look(self, stream: StreamId) -> Live | StreamRow:
        asked_others = False
        for _ in range(4):
            live = self._live.get(stream)
            if live is not None:
                return live
            row = await self._archive.row(stream)
            if row is None:
                # It may have left memory for the index while the index was asked.
                if stream in self._live:
                    continue
                if asked_others or not await self._others.may_know():
                    break
                asked_others = True
                continue
            if row.info.state != "live":
                return row
            if row.writer != self._appender.writer:
                if await self._archive.run(partial(recovery.is_alive, self._segments, row.writer)):
                    return row
                await self._adopt()
        raise UnknownStreamError("no such stream")

    @property
    def _segments(self) -> Path:
        return self._archive.segments

    # ── what others left, and what may be forgotten ──────────────────────────────────────────────

    async def _adopt(self) -> None:
        """Takes over what dead processes left, and closes their streams."""
        async with self._adopting:
            own = self._appender.writer
            left = await self._indexing.call(
                lambda index: recovery.recover(index, self._archive, own)
            )
            try:
                await self._close_left(left)
            finally:
                left.release()

    async def _close_left(self, left: recovery.Left) -> None:
        if not left.open:
            return
        # The closing records must come after the streams' own in the order of the names.
        self._appender.roll(self._newest_name())
        for found in left.open:
            self._live[found.info.stream] = live = adopted(found)
            if self._appender.trouble is None:
                self._close(live)
            else:
                live.lose(self._appender.refusal())
        try:
            for found in left.open:
                await self.settled(StreamId(found.info.stream))
        except LogUnavailableError:
            _log.warning("streams of a dead process can be read but not yet be closed")
            return
        await self._indexing.flush()
        await self._indexing.call(lambda index: index.write([], left.unsealed, self._now_ms()))

    async def put_blob(self, stream: StreamId, data: bytes, media_type: str) -> Blob:
        """See the port."""
        self._writable()
        self._keeping.add(stream)
        try:
            kept = await self._detour.keep(stream, data, self._now_ms())
        except OSError as error:
            self._appender.fail(error)
            raise self._appender.refusal() from error
        return Blob(sha256=kept.sha256, media_type=media_type, size=kept.size)

    async def blob(self, stream: StreamId, sha256: str) -> bytes:
        """See the port."""
        return await self._archive.blob(stream, sha256)

    async def erase(self, stream: StreamId) -> None:
        """See the port. `InvalidRequestError` while the stream is live."""
        found = await self._look(stream)
        state = found.info.state if isinstance(found, StreamRow) else found.state
        if state == "live":
            raise InvalidRequestError("the stream is live: cancel it first", param="stream")
        if isinstance(found, Live):
            await self._indexing.flush()
            found.erased = True
            found.tail = []
            found.head = None
            found.wake()
        await self._indexing.call(
            lambda index: retention.erase(index, self._segments, self._blobs, [stream])
        )

    async def retain(self) -> None:
        """Forgets what is too old or too much.

        Runs by itself once a minute, and whenever a segment is full.
        """
        await self._retaining.run()

    def status(self) -> LogStatus:
        """See the port. Tries a write, at most once a second, while the log is in trouble."""
        appender = self._appender
        if appender.trouble is not None and not self._closed and appender.probe():
            self._close_broken()
        return LogStatus(
            writable=appender.trouble is None and not self._closed,
            trouble=appender.trouble,
            live=sum(live.state == "live" for live in self._live.values()),
            bytes=self._retaining.bytes + appender.written,
            backlog_bytes=appender.backlog,
            unsynced_seconds=appender.unsynced_seconds,
        )

    async def aclose(self) -> None:
        """See the port. Streams that are still live are found, and closed, by the next start."""
        if self._closed:
            return
        self._closed = True
        self._retaining.stop()
        await self._detour.aclose()
        await self._appender.finish()
        await self._indexing.aclose()
        self._appender.release()
        await self._archive.aclose()
        for live in self._live.values():
            if live.state == "live":
                live.lose(LogUnavailableError("the stream log is closed"))


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
