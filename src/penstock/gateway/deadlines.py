"""The token clocks of a run: the first token, and the gaps between tokens."""

import asyncio
from collections.abc import Callable

from penstock.core.ports import Timeouts


class Deadline:
    """Calls `expire` once when no token came in time. One timer a run, whatever its number of
    tokens.

    A touch only moves the due time; the timer looks again when it fires. So a token costs an
    attribute, not a timer.
    """

    __slots__ = ("_due", "_expire", "_handle", "_loop", "_timeouts", "said")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, timeouts: Timeouts, expire: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._timeouts = timeouts
        self._expire = expire
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0.0
        self.said = False

    def start(self) -> None:
        """The clock of the first token begins, anew for each attempt."""
        self.said = False
        self._due = self._loop.time() + self._timeouts.first_token
        self._arm()

    def touch(self, now: float) -> None:
        """A token came at `now` (the loop's time)."""
        self.said = True
        self._due = now + self._timeouts.between_tokens
        if self._handle is not None and self._handle.when() > self._due:
            self._arm()

    def stop(self) -> None:
        """No clock runs any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        if self._loop.time() >= self._due:
            self._handle = None
            self._expire()
        else:
            self._arm()
