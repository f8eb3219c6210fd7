"""How a stream arrives, in constant memory."""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.core.events import (
    Entry,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)

_DELTAS: Final = frozenset({TextDelta, ReasoningDelta, ToolCallDelta})
_SHORTEST: Final = 1e-6
_PER_OCTAVE: Final = 8
_BUCKETS: Final = 40 * _PER_OCTAVE


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured so far, at this client. Times in seconds; `None`: not known yet.

    `first_token`: from asking to the first piece of an answer. `tokens`: by the server's own count
    once it is there, else pieces. `tokens_per_second`: from the first piece to the last. `gap_p50`,
    `gap_p99`: between pieces, at most 9 % too large; pieces that came in one read have none.
    """

    events: int = 0
    tokens: int = 0
    first_token: float | None = None
    tokens_per_second: float | None = None
    gap_p50: float | None = None
    gap_p99: float | None = None


class Meter:
    """Told of each read, not of each event."""

    def __init__(self) -> None:
        self.begun: float | None = None
        self._events = 0
        self._pieces = 0
        self._first: float | None = None
        self._last = 0.0
        self._tokens: int | None = None
        self._together = 0
        self._gaps = [0] * _BUCKETS

    def begin(self, now: float) -> None:
        """The question is asked."""
        if self.begun is None:
            self.begun = now

    def observe(self, entries: Sequence[Entry], now: float) -> None:
        """These came at `now`."""
        self._events += len(entries)
        pieces = 0
        for entry in entries:
            kind = type(entry.event)
            if kind in _DELTAS:
                pieces += 1
            elif kind is Usage:
                self._tokens = entry.event.output_tokens  # type: ignore[union-attr]
        if not pieces:
            return
        self._pieces += pieces
        if self._first is None:
            self._first = now
        else:
            self._gaps[_bucket(now - self._last)] += 1
        self._together += pieces - 1
        self._last = now

    def metrics(self) -> Metrics:
        """So far."""
        tokens = self._pieces if self._tokens is None else self._tokens
        first = self._first
        lasted = self._last - first if first is not None else 0.0
        return Metrics(
            events=self._events,
            tokens=tokens,
            first_token=None if first is None or self.begun is None else first - self.begun,
            tokens_per_second=(tokens - 1) / lasted if lasted > 0 and tokens > 1 else None,
            gap_p50=self._gap(0.5),
            gap_p99=self._gap(0.99),
        )

    def _gap(self, share: float) -> float | None:
        gaps = self._together + sum(self._gaps)
        if not gaps:
            return None
        wanted = math.ceil(share * gaps) - self._together
        if wanted <= 0:
            return 0.0
        for bucket, count in enumerate(self._gaps):
            wanted -= count
            if wanted <= 0:
                return float(_SHORTEST * 2 ** ((bucket + 1) / _PER_OCTAVE))
        return None


def _bucket(seconds: float) -> int:
    if seconds <= _SHORTEST:
        return 0
    return min(int(math.log2(seconds / _SHORTEST) * _PER_OCTAVE), _BUCKETS - 1)
