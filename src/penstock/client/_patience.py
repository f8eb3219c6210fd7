"""How long a lost connection is borne, and how long to wait before the next try."""

from collections.abc import Callable
from typing import Final

from penstock.core.errors import EngineProtocolError, GatewayError

Clock = Callable[[], float]
_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 5.0
_MOST_NONSENSE: Final = 10
"""Answers without sense in a row: a broken line gives a few, a wrong server gives only those."""


class Patience:
    """The first try after a loss comes at once, the next ones later and later.

    Time counts from the first loss after something useful came, so a server that takes connections
    and gives nothing is borne no longer than one that is away.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lost_at: float | None = None
        self._wait = 0.0
        self._nonsense = 0

    def rewarded(self) -> None:
        """Something useful came."""
        self._lost_at = None

    def after(self, trouble: GatewayError) -> float:
        """Seconds to wait now. Raises `trouble` when it will not pass, or patience has ended."""
        if not trouble.retryable:
            raise trouble
        now = self._clock()
        if self._lost_at is None:
            self._lost_at, self._wait, self._nonsense = now, 0.0, 0
        self._nonsense += isinstance(trouble, EngineProtocolError)
        wait = max(self._wait, trouble.retry_after or 0.0)
        if now + wait - self._lost_at > self._seconds or self._nonsense > _MOST_NONSENSE:
            raise trouble
        self._wait = min(max(self._wait * 2, _FIRST_WAIT), _LONGEST_WAIT)
        return wait
