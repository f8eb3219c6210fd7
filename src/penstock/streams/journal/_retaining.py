"""When retention runs: once a minute, and whenever a segment is full. The work is in a thread."""

import logging
from asyncio import Future, TimerHandle, wait
from functools import partial
from pathlib import Path
from typing import Final

from penstock.streams.journal import retention
from penstock.streams.journal._blobs import Blobs
from penstock.streams.journal._indexing import Indexing
from penstock.streams.journal.segments import Appender

SECONDS: Final = 60.0
_log = logging.getLogger(__name__)


class Retaining:
    """Keeps the folder within its bounds. `bytes`: what was there before this process wrote."""

    def __init__(
        self,
        segments: Path,
        blobs: Blobs,
        bounds: retention.Bounds,
        appender: Appender,
        indexing: Indexing,
    ) -> None:
        self.bytes = 0
        self._segments = segments
        self._blobs = blobs
        self._bounds = bounds
        self._appender = appender
        self._indexing = indexing
        self._timer: TimerHandle | None = None
        self._passes = 0
        self._stopped = False

    async def run(self) -> None:
        """One pass."""
        await wait([self._begin()])

    def after_roll(self) -> None:
        """A segment is full. Several that fill during a pass wait for the next one."""
        if not self._passes and not self._stopped:
            # Not within this turn: it has yet to write what made the segment roll.
            self._appender.loop.call_soon(self._again)

    def stop(self) -> None:
        """No pass begins after this."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _again(self) -> None:
        if not self._stopped:
            _ = self._begin()

    def _begin(self) -> Future[int]:
        if self._timer is not None:
            self._timer.cancel()
        self._passes += 1
        self._appender.roll_if_old()
        segments, blobs, bounds = self._segments, self._blobs, self._bounds
        now, written = self._appender.now_ms(), self._appender.written
        done = self._indexing.submit(
            lambda index: retention.retain(index, segments, blobs, bounds, now)
        )
        done.add_done_callback(partial(self._ended, written))
        return done

    def _ended(self, written: int, done: Future[int]) -> None:
        self._passes -= 1
        error = done.exception()
        if error is None:
            self.bytes = done.result() - written
        else:
            _log.warning("retention failed: %s", error)
        if not self._stopped:
            self._timer = self._appender.loop.call_later(SECONDS, self._again)
