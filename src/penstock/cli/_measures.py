"""How fast an answer came. Times are of this side: from the request to what was seen."""

from collections.abc import Sequence

import msgspec

from penstock.core.events import (
    Done,
    Event,
    Failed,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """`duree_s` and `vitesse_tps` are what the streaming demonstration calls them.

    `tokens` are the server's own count (`counted` is `usage`), else pieces (`chunks`). Seconds and
    milliseconds; `None` where there was too little to measure.
    """

    tokens: int
    duree_s: float
    vitesse_tps: float
    duration_s: float
    tokens_per_second: float
    counted: str
    chunks: int
    first_token_s: float | None
    gap_p50_ms: float | None
    gap_p99_ms: float | None
    malformed: int
    finish_reason: str | None
    stream: str | None


class Measures:
    """Counts as an answer arrives. `began` is when the request was sent, on the loop's clock."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._arrivals: list[float] = []
        self._usage: Usage | None = None
        self.chunks = 0
        self.reason: FinishReason | None = None
        self.failed: Failed | None = None

    def take(self, events: Sequence[Event], now: float) -> None:
        """What one read brought."""
        deltas = 0
        for event in events:
            match event:
                case TextDelta() | ReasoningDelta() | ToolCallDelta():
                    deltas += 1
                case Usage():
                    self._usage = event
                case Done(reason=reason):
                    self.reason = reason
                case Failed():
                    self.failed = event
                case _:
                    pass
        if deltas:
            self.chunks += deltas
            self._arrivals.append(now)

    def figures(self, now: float, *, malformed: int, stream: str | None) -> Figures:
        """All of it, rounded for reading."""
        seconds = now - self._began
        tokens = self._usage.output_tokens if self._usage is not None else self.chunks
        speed = tokens / seconds if seconds > 0 else 0.0
        gaps = sorted(
            later - earlier
            for earlier, later in zip(self._arrivals, self._arrivals[1:], strict=False)
        )
        return Figures(
            tokens=tokens,
            duree_s=round(seconds, 3),
            vitesse_tps=round(speed, 2),
            duration_s=round(seconds, 3),
            tokens_per_second=round(speed, 2),
            counted="chunks" if self._usage is None else "usage",
            chunks=self.chunks,
            first_token_s=round(self._arrivals[0] - self._began, 4) if self._arrivals else None,
            gap_p50_ms=_quantile(gaps, 0.5),
            gap_p99_ms=_quantile(gaps, 0.99),
            malformed=malformed,
            finish_reason=self.reason,
            stream=stream,
        )


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """By the nearest rank, in milliseconds."""
    if not ordered:
        return None
    rank = min(len(ordered) - 1, int(share * len(ordered)))
    return round(ordered[rank] * 1000, 2)
