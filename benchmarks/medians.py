"""Medians over the rounds of one run, and what is worked out from them."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

from benchmarks.results import Figure, Load, Result

OPEN_STREAMS: Final = 500  # of W3a
Pick = Callable[[Result], float]


def cpu_us(result: Result) -> float:
    """CPU a chunk in microseconds."""
    load = result.measured
    return load.cpu_s / load.seen * 1e6 if load.seen else 0.0


def kib_a_stream(result: Result) -> float:
    """Memory that 500 open streams took, above what the server had just before them."""
    load = result.measured
    return (load.rss_peak_mib - load.rss_before_mib) * 1024 / OPEN_STREAMS


def kib_a_stream_above_start(result: Result) -> float:
    """The same above what it had when it had just started: an upper bound."""
    return (result.measured.rss_peak_mib - result.idle_mib) * 1024 / OPEN_STREAMS


def measured(field: Callable[[Load], float]) -> Pick:
    """A field of what the load generator counted."""
    return lambda result: field(result.measured)


FIRST: Final = measured(lambda load: load.first_p50_us)
CHUNKS: Final = measured(lambda load: load.chunks_s)
REQUESTS: Final = measured(lambda load: load.requests_s)


class Medians:
    """All drives of a run and all single figures; `None` where something was not measured."""

    def __init__(self, results: Sequence[Result], figures: dict[str, Figure]) -> None:
        self._rows: dict[tuple[str, str], list[Result]] = {}
        for result in results:
            self._rows.setdefault((result.load, result.server), []).append(result)
        self._figures = figures

    def loads(self) -> list[str]:
        """In the order in which they were driven."""
        return list(dict.fromkeys(load for load, _ in self._rows))

    def servers(self, load: str) -> list[str]:
        """Those that were driven with this load."""
        return [server for found, server in self._rows if found == load]

    def rounds(self, load: str) -> int:
        """How often."""
        return max(len(rows) for (found, _), rows in self._rows.items() if found == load)

    def others(self, load: str) -> float:
        """Cores that other programs used meanwhile."""
        rows = [row for (found, _), rows in self._rows.items() if found == load for row in rows]
        return median(row.others for row in rows)

    def of(self, load: str, server: str, pick: Pick) -> float | None:
        """The median of one number."""
        rows = self._rows.get((load, server))
        return median(pick(row) for row in rows) if rows else None

    def worst(self, load: str, server: str, pick: Pick) -> float | None:
        """Its largest value."""
        rows = self._rows.get((load, server))
        return max(pick(row) for row in rows) if rows else None

    def failed(self, load: str, server: str) -> float | None:
        """Requests of all rounds that did not get exactly their answer."""
        rows = self._rows.get((load, server))
        return sum(row.measured.wanted - row.measured.ok for row in rows) if rows else None

    def ratio(self, load: str, server: str, to: str, pick: Pick) -> float | None:
        """How many times the value of another server."""
        return divided(self.of(load, server, pick), self.of(load, to, pick))

    def over_direct(self, load: str, server: str) -> float | None:
        """What a server adds to the median first chunk, in microseconds."""
        here, direct = self.of(load, server, FIRST), self.of(load, "direct", FIRST)
        return None if here is None or direct is None else here - direct

    def rate_held(self, load: str, server: str) -> float | None:
        """Chunks a second as a share of those without any server between."""
        return self.ratio(load, server, "direct", CHUNKS)

    def figure(self, name: str) -> float | None:
        """A single figure."""
        found = self._figures.get(name)
        return found.value if found else None


def divided(over: float | None, under: float | None) -> float | None:
    """A ratio, if both were measured."""
    return over / under if over is not None and under else None
