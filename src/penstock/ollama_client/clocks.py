"""How long an answer may take: to its first chunk, from one to the next, and in all."""

from time import monotonic
from typing import Final

from penstock.ollama_client.config import OllamaConfig
from penstock.ollama_client.troubles import timed_out, unsendable

_LONGEST: Final = 30 * 24 * 3600.0


class Clock:
    """Times one answer, on however many connections. What its reader takes for itself between two
    chunks counts in the total only.
    """

    def __init__(
        self, first: float, between: float | None = None, total: float | None = None
    ) -> None:
        self._limit = first
        self._between = first if between is None else between
        self._total = total
        for seconds in (self._limit, self._between, 1.0 if total is None else total):
            _check(seconds)
        self._what = "the first chunk"
        now = monotonic()
        self._at = now + first
        self._end = None if total is None else now + total

    def chunk(self) -> None:
        """One came and was dealt with: the wait for the next begins."""
        self._limit = self._between
        self._what = "the next chunk"
        self._at = monotonic() + self._limit

    def left(self) -> float:
        """Seconds to the next limit. Raises `TroubleError` at one."""
        now = monotonic()
        if self._end is not None and self._total is not None and now >= self._end:
            raise timed_out(self._total, "the whole answer")
        if now >= self._at:
            raise timed_out(self._limit, self._what)
        return min(self._at, self._at if self._end is None else self._end) - now


def clock_of(config: OllamaConfig, timeout: float | None, total: float | None) -> Clock:
    """The clock of a request: `timeout`, where it is given, holds for each chunk."""
    if timeout is None:
        between = config.timeout_chunk
        timeout = config.timeout_first_request
    else:
        between = timeout
    return Clock(timeout, between, config.timeout_total if total is None else total)


def _check(seconds: float) -> None:
    if not 0 < seconds <= _LONGEST:
        text = f"timeout: a number of seconds above 0, not {seconds!r}"
        raise unsendable(text, "timeout")
