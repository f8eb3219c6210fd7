"""What the gateway counts. Plain numbers: a transport decides how to show them."""

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

LAG_SECONDS: Final = 0.5

SECONDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(30.0, 60.0, 120.0),
)


class Histogram:
    """Counts of observations, by upper bound. `counts` has one place more: beyond the last
    bound.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Adds one observation. Cheap enough for every batch."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def total(self) -> int:
        """How many were observed."""
        return sum(self.counts)


class Metrics:
    """Everything that `/metrics` shows and that isn't known elsewhere.

    `requests` by (dialect, binding, model, outcome); `tokens` by (binding, model, kind), where kind
    is `input` or `output`. `runs` are alive, `waiting` of them not yet accepted by their engine.
    Histograms are in seconds.
    """

    def __init__(self) -> None:
        self.requests: defaultdict[tuple[str, str, str, str], int] = defaultdict(int)
        self.tokens: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self.readers = 0
        self.runs = 0
        self.waiting = 0
        self.first_token = Histogram()
        self.gap = Histogram()
        self.log_latency = Histogram()
        self.loop_lag = Histogram()


async def measure_lag(observe: Callable[[float], None]) -> None:
    """How late the event loop is, in seconds, twice a second for as long as it runs."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_SECONDS
        await asyncio.sleep(LAG_SECONDS)
        observe(max(0.0, loop.time() - due))
