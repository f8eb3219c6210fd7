"""Writes the index behind the journal: one thread, one transaction for all that waits."""

import logging
import sqlite3
from asyncio import AbstractEventLoop, Future, TimerHandle, wait
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from penstock.streams.journal._live import Live
from penstock.streams.journal._records import Places
from penstock.streams.journal._segment import Segment
from penstock.streams.journal.index import Index, SegmentRow, StreamRow
from penstock.streams.journal.segments import Appender

T = TypeVar("T")
BEHIND_SECONDS: Final = 0.25
"""Most replies begin and end within it, and are one row written once."""
RETRY_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


class Indexing:
    """What the index does not know yet, and the thread that will tell it.

    `live` is the log's own table of streams: one leaves it when its end is in the index.
    """

    def __init__(self, folder: Path, appender: Appender, live: dict[str, Live]) -> None:
        self._folder = folder
        self._appender = appender
        self._live = live
        self._pool = ThreadPoolExecutor(1, "penstock-index")
        self._index: Index | None = None
        self._dirty: dict[str, Live] = {}
        self._timer: TimerHandle | None = None
        self._writing: Future[None] | None = None
        self._now = 0

    @property
    def _loop(self) -> AbstractEventLoop:
        return self._appender.loop

    async def call(self, ask: Callable[[Index], T]) -> T:
        """Runs something with the index, in its thread."""
        return await self.submit(ask)

    def submit(self, ask: Callable[[Index], T]) -> Future[T]:
        """The same for those who can't wait."""
        return self._loop.run_in_executor(self._pool, self._asked, ask)

    def _asked(self, ask: Callable[[Index], T]) -> T:
        if self._index is None:
            self._index = Index(self._folder)
        return ask(self._index)

    def note(self, live: Live) -> None:
        """This stream has begun or ended."""
        self._dirty[live.info.stream] = live
        self._soon(BEHIND_SECONDS)

    def _soon(self, seconds: float) -> None:
        if self._timer is None and self._writing is None:
            self._timer = self._loop.call_later(seconds, self._write)

    async def flush(self) -> None:
        """Returns once all that was noted before is in the index, or can't be put there."""
        if self._writing is not None:
            await wait([self._writing])
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is None:
            self._write()
        if self._writing is not None:
            await wait([self._writing])

    def _write(self) -> None:
        self._timer = None
        streams, self._dirty = self._dirty, {}
        rows = []
        for live in streams.values():
            if live.head_logged:
                rows.append(_row(live, self._appender.writer))
            elif live.broken is None:
                self._dirty[live.info.stream] = live
        segments = self._segments({row.info.stream for row in rows if row.info.state != "live"})
        now = max((live.last for live in streams.values()), default=0)
        writing = self._loop.run_in_executor(
            self._pool, self._asked, lambda index: index.write(rows, segments, now)
        )
        self._writing = writing
        writing.add_done_callback(lambda done: self._written(streams, rows, segments, done))

    def _segments(self, ending: set[str]) -> list[SegmentRow]:
        """How far each of our segments will be indexed once `ending` is."""
        own = self._appender.own
        marks = {name: segment.shown for name, segment in own.items()}
        busy: set[str] = set()
        for stream, live in self._live.items():
            if stream not in ending:
                for run in live.runs:
                    if run.segment in marks:
                        busy.add(run.segment)
                        marks[run.segment] = min(marks[run.segment], run[0][0])
        return [
            SegmentRow(name, marks[name], _is_finished(segment) and name not in busy, segment.last)
            for name, segment in own.items()
        ]

    def _written(
        self,
        streams: dict[str, Live],
        rows: list[StreamRow],
        segments: list[SegmentRow],
        done: Future[None],
    ) -> None:
        self._writing = None
        error = done.exception()
        if error is not None:
            if not isinstance(error, sqlite3.Error | OSError):
                raise error
            _log.warning("the index is behind: %s", error)
            self._dirty = streams | self._dirty
            self._soon(RETRY_SECONDS)
            return
        for row in rows:
            if row.info.state != "live":
                self._live.pop(row.info.stream, None)
        for segment in segments:
            if segment.sealed and self._appender.own[segment.name].fd < 0:
                del self._appender.own[segment.name]
        if self._dirty:
            self._soon(BEHIND_SECONDS)

    async def aclose(self) -> None:
        """Writes what is left, then lets go of the index."""
        await self.flush()
        if self._dirty:
            await self.flush()
        if self._timer is not None:
            self._timer.cancel()
        if self._index is not None:
            await self._loop.run_in_executor(self._pool, self._index.close)
        self._pool.shutdown()


def _row(live: Live, writer: str) -> StreamRow:
    if live.state != "live":
        return StreamRow(live.line(), live.began, writer, tuple(live.runs), tuple(live.blobs))
    head = Places(live.runs[0].segment)
    head.add(*live.runs[0][0])
    return StreamRow(live.line(), live.began, writer, (head,), tuple(live.blobs))


def _is_finished(segment: Segment) -> bool:
    return segment.retired and segment.shown == segment.size
