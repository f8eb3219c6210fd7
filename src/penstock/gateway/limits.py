"""What one key may use at a time and in a minute. Pure: the clock is passed in.

Counted in this process: two servers that share a key store each allow as much.
"""

from collections.abc import Callable
from math import ceil
from typing import Final

import msgspec

from penstock.core.errors import OverloadedError
from penstock.core.principals import Principal

WINDOW_MS: Final = 60_000
_ROOM_SECONDS: Final = 1.0

Leave = Callable[[], None]


class Allowance(msgspec.Struct, frozen=True):
    """A key's requests in the minute that runs. `reset`: its end, in seconds since the epoch."""

    limit: int
    remaining: int
    reset: int


class _Used:
    __slots__ = ("begun", "live", "requests")

    def __init__(self) -> None:
        self.begun = 0
        self.requests = 0
        self.live = 0


class Limits:
    """Windows of one minute, each beginning with a key's first request after the last.

    `now`: milliseconds since the epoch. What a limit refuses is not counted.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._used: dict[str, _Used] = {}

    def enter(self, principal: Principal) -> Leave:
        """Counts a request; the caller calls what it gets once the work has ended, however it did.

        Raises `OverloadedError` whose `retry_after` is when the minute ends, or soon where another
        run has to end first. Leaving twice does no harm.
        """
        if principal.requests_per_minute is None and principal.concurrent is None:
            return _nothing
        now = self._now()
        used = self._current(principal.id, now)
        self._check(principal, used, now)
        used.requests += 1
        used.live += 1
        inside = True

        def leave() -> None:
            nonlocal inside
            if inside:
                inside = False
                used.live -= 1

        return leave

    def allowance(self, principal: Principal) -> Allowance | None:
        """What is left of this minute; `None` for a key without such a limit."""
        limit = principal.requests_per_minute
        if limit is None:
            return None
        now = self._now()
        used = self._current(principal.id, now)
        end = (used.begun if used.requests else now) + WINDOW_MS
        return Allowance(limit, max(0, limit - used.requests), -(-end // 1000))

    def _current(self, who: str, now: int) -> _Used:
        used = self._used.setdefault(who, _Used())
        # A clock that was set back begins a new minute instead of shutting a key out.
        if not used.begun <= now < used.begun + WINDOW_MS:
            used.begun = now
            used.requests = 0
        elif not used.requests:
            used.begun = now
        return used

    def _check(self, principal: Principal, used: _Used, now: int) -> None:
        limit, most = principal.requests_per_minute, principal.concurrent
        if limit is not None and used.requests >= limit:
            seconds = (used.begun + WINDOW_MS - now) / 1000
            raise OverloadedError(
                f"this key may make {limit} requests a minute; try again in {ceil(seconds)} "
                "seconds",
                retry_after=seconds,
            )
        if most is not None and used.live >= most:
            raise OverloadedError(
                f"this key's limit of {most} at a time is reached",
                retry_after=_ROOM_SECONDS,
            )


def _nothing() -> None:
    """Leaves what was never counted."""
