"""The append side: one `write(2)` per turn of the event loop for all streams of this process."""

import logging
import os
import secrets
from asyncio import AbstractEventLoop, Future, TimerHandle, sleep, wait
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, Literal

from penstock.core.errors import LogUnavailableError
from penstock.streams.journal._live import Live
from penstock.streams.journal._segment import Handed, Segment, Turn

SUFFIX: Final = ".seg"
SYNC_SECONDS: Final = 0.1
PROBE_SECONDS: Final = 1.0
_PROBE: Final = bytes(64 * 1024)
_log = logging.getLogger(__name__)


Sync = Literal["interval", "always", "off"]


class Appender:
    """Writes what was handed over, makes it visible, and knows what is wrong when it can't."""

    def __init__(
        self,
        folder: Path,
        sync: Sync,
        segment_bytes: int,
        now_ms: Callable[[], int],
        observe_latency: Callable[[float], None] | None,
    ) -> None:
        self.on_end: Callable[[Live], None] = _nothing
        self.on_roll: Callable[[], None] = _nothing_rolled
        self.writer = secrets.token_hex(6)
        self.trouble: str | None = None
        self.backlog = 0
        self.written = 0
        self.own: dict[str, Segment] = {}
        self.max_age_ms = 24 * 3600 * 1000
        self._folder = folder
        self._mode = sync
        self._segment_bytes = segment_bytes
        self.now_ms = now_ms
        self._observe = observe_latency
        self._segment: Segment | None = None
        self._last_name = 0
        self._queue: list[Handed] = []
        self._since = 0.0
        self._probe_at = 0.0
        self._loop: AbstractEventLoop | None = None
        self._pool = ThreadPoolExecutor(1, "penstock-sync")
        self._dirty: dict[str, Segment] = {}
        self._dirty_since: float | None = None
        self._syncing_since: float | None = None
        self._syncing: Future[None] | None = None
        self._timer: TimerHandle | None = None
        self._turns: list[Turn] = []

    def start(self, loop: AbstractEventLoop, newest_name: int) -> None:
        """Begins a segment. `newest_name`: the highest time in the name of any segment here."""
        self._loop = loop
        self._last_name = newest_name
        try:
            self._segment = self._begin()
        except OSError as error:
            self.fail(error)

    @property
    def loop(self) -> AbstractEventLoop:
        """The loop of the process's run; everything but syncing happens on it."""
        assert self._loop is not None
        return self._loop

    @property
    def current(self) -> Segment | None:
        """Where the next turn's records go."""
        return self._segment

    @property
    def unsynced_seconds(self) -> float:
        """Age of the oldest byte that is not yet known to be on stable storage."""
        since = self._dirty_since if self._syncing_since is None else self._syncing_since
        return 0.0 if since is None else self.loop.time() - since

    def hand_over(self, handed: Handed) -> None:
        """Takes a record for this turn's write. The caller counts it into `backlog`."""
        if not self._queue:
            self._since = self.loop.time()
            self.loop.call_soon(self.flush)
        self._queue.append(handed)

    def flush(self) -> None:
        """Writes everything that was handed over since the last time."""
        if not self._queue:
            return
        handed, self._queue = self._queue, []
        if self.trouble is not None:
            self._lost(handed)
            return
        try:
            segment = self._room()
        except OSError as error:
            self.fail(error)
            self._lost(handed)
            return
        data = handed[0].record if len(handed) == 1 else b"".join([h.record for h in handed])
        offset = segment.size
        segment.last = handed[-1].live.last
        taken = self._write(segment, data)
        if taken < len(data):
            handed = self._cut(segment, offset, taken, handed)
        else:
            segment.size = offset + taken
        self.written += segment.size - offset
        if handed:
            self._wrote(Turn(handed, segment, offset, self._since))

    def _write(self, segment: Segment, data: bytes) -> int:
        """The number of bytes written; sets `trouble` when it is not all of them."""
        taken = 0
        rest = memoryview(data)
        try:
            while rest:
                count = os.write(segment.fd, rest)
                taken += count
                rest = rest[count:]
        except OSError as error:
            self.fail(error)
        return taken

    def _cut(self, segment: Segment, offset: int, taken: int, handed: list[Handed]) -> list[Handed]:
        """After a refused write: records that went in whole are in the log, the rest is lost."""
        end = offset
        kept = 0
        for item in handed:
            if end + len(item.record) > offset + taken:
                break
            end += len(item.record)
            kept += 1
        segment.size = end
        try:
            os.ftruncate(segment.fd, end)
            os.lseek(segment.fd, end, os.SEEK_SET)
        except OSError:
            self._retire(segment)
        self._lost(handed[kept:])
        return handed[:kept]

    def _wrote(self, turn: Turn) -> None:
        segment = turn.segment
        if self._dirty_since is None:
            self._dirty_since = self.loop.time()
        if self._mode == "always":
            self._turns.append(turn)
            for item in turn.handed:
                item.live.unshown += 1
        else:
            self._show(turn)
        if self._mode != "off":
            self._dirty[segment.name] = segment
            self._sync_soon()

    def _show(self, turn: Turn) -> None:
        offset = turn.offset
        name = turn.segment.name
        for item in turn.handed:
            size = len(item.record)
            self.backlog -= size
            if item.live.unshown:
                item.live.unshown -= 1
            item.live.place(name, offset, size, item.first)
            item.live.publish(item.entries, size, item.state)
            if item.state != "live":
                self.on_end(item.live)
            offset += size
        turn.segment.shown = offset
        if self._observe is not None:
            self._observe(self.loop.time() - turn.since)

    def _lost(self, handed: Sequence[Handed]) -> None:
        for item in handed:
            self.backlog -= len(item.record)
            item.live.lose(self.refusal())

    def refusal(self) -> LogUnavailableError:
        """What to tell whoever wants to write now."""
        return LogUnavailableError(
            f"the stream log can't be written: {self.trouble or 'unknown trouble'}",
            retry_after=PROBE_SECONDS,
        )

    def fail(self, error: OSError) -> None:
        """Nothing is written from here on until a probe succeeds."""
        self.trouble = error.strerror or type(error).__name__
        self._probe_at = self.loop.time() + PROBE_SECONDS
        _log.error("the stream log can't be written: %s", self.trouble)

    def probe(self) -> bool:
        """Whether the log can be written. While it can't, tries a real write once a second."""
        if self.trouble is None:
            return True
        if self.loop.time() < self._probe_at or self._syncing is not None or self._queue:
            return False
        try:
            segment = self._room()
            taken = os.pwrite(segment.fd, _PROBE, segment.size)
            os.ftruncate(segment.fd, segment.size)
            if taken < len(_PROBE):
                raise OSError(0, "only a part of a write was taken")
        except OSError as error:
            self.fail(error)
            return False
        _log.warning("the stream log can be written again")
        self.trouble = None
        return True

    # ── segments ─────────────────────────────────────────────────────────────────────────────────

    def _room(self) -> Segment:
        """The current segment, or a new one when it is full, too old or given up."""
        segment = self._segment
        if segment is not None and (
            segment.size == 0
            or (
                segment.size < self._segment_bytes
                and self.now_ms() - segment.opened < self.max_age_ms
            )
        ):
            return segment
        self._segment = self._begin()
        if segment is not None:
            self._retire(segment)
            self.on_roll()
        return self._segment

    def roll(self, newest_name: int) -> None:
        """Goes on in a new segment whose name sorts after `newest_name`."""
        self._last_name = max(self._last_name, newest_name)
        segment, self._segment = self._segment, None
        try:
            self._room()
        except OSError as error:
            self._segment = segment
            self.fail(error)
            return
        if segment is not None:
            self._retire(segment)

    def roll_if_old(self) -> None:
        """Gives up a segment that has grown old, so that retention may drop it later."""
        if self._segment is not None and self._segment.size and self.trouble is None:
            try:
                self._room()
            except OSError as error:
                self.fail(error)

    def _begin(self) -> Segment:
        self._last_name = max(self.now_ms(), self._last_name + 1)
        name = f"{self._last_name:014d}-{self.writer}{SUFFIX}"
        segment = Segment(self._folder, name, self._last_name)
        self.own[name] = segment
        return segment

    def _retire(self, segment: Segment) -> None:
        """No more records for it. Closed when it is synced: the lock goes last."""
        if segment is self._segment:
            self._segment = None
        segment.retired = True
        if self._mode == "off":
            self._close_retired()
        else:
            self._dirty[segment.name] = segment
            self._sync_soon()

    def _close_retired(self) -> None:
        # Without the lock of any segment this process would look dead to others.
        if self._segment is not None:
            for segment in self.own.values():
                if segment.retired and segment.name not in self._dirty:
                    segment.close()

    # ── syncing ──────────────────────────────────────────────────────────────────────────────────

    def _sync_soon(self) -> None:
        if self._syncing is not None:
            return
        if self._mode == "always":
            self._sync()
        elif self._timer is None:
            self._timer = self.loop.call_later(SYNC_SECONDS, self._sync)

    def _sync(self) -> None:
        self._timer = None
        segments, self._dirty = list(self._dirty.values()), {}
        turns, self._turns = self._turns, []
        self._syncing_since, self._dirty_since = self._dirty_since, None
        self._syncing = self.loop.run_in_executor(self._pool, _sync_all, segments)
        self._syncing.add_done_callback(partial(self._synced, turns))

    def _synced(self, turns: list[Turn], done: Future[None]) -> None:
        self._syncing = None
        self._syncing_since = None
        error = done.exception()
        if error is None:
            for turn in turns:
                self._show(turn)
        elif isinstance(error, OSError):
            self._unsyncable(error, turns)
        else:
            raise error
        self._close_retired()
        if self._dirty:
            self._sync_soon()

    def _unsyncable(self, error: OSError, turns: list[Turn]) -> None:
        # After a failed fsync the kernel may have dropped the pages: the file is not used again,
        # and what nobody has seen is cut off.
        self.fail(error)
        lost = [*turns, *self._turns]
        self._turns = []
        for turn in reversed(lost):
            turn.segment.size = min(turn.segment.size, turn.offset)
            try:
                os.ftruncate(turn.segment.fd, turn.segment.size)
            except OSError as refused:
                _log.error("a segment can't be cut: %s", refused.strerror)
        self._dirty.clear()
        if self._segment is not None:
            self._retire(self._segment)
        for turn in lost:
            for item in turn.handed:
                item.live.unshown -= 1
            self._lost(turn.handed)

    async def finish(self) -> None:
        """Writes what was handed over, and syncs it unless told never to. Nothing follows."""
        self.flush()
        while self._syncing is not None or (self._mode != "off" and self._dirty):
            if self._timer is not None:
                self._timer.cancel()
            if self._syncing is None:
                self._sync()
            if self._syncing is not None:
                await wait([self._syncing])
            await sleep(0)
        self._pool.shutdown(wait=True)
        for segment in self.own.values():
            segment.retired = True

    def release(self) -> None:
        """Lets go of the files and of their locks."""
        for segment in self.own.values():
            segment.close()


def _nothing(_: Live) -> None:
    pass


def _nothing_rolled() -> None:
    pass


def _sync_all(segments: Sequence[Segment]) -> None:
    for segment in segments:
        segment.sync()
