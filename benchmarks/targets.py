"""What Penstock is to reach, and whether a run reached it."""

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from benchmarks.medians import (
    CHUNKS,
    REQUESTS,
    Medians,
    cpu_us,
    divided,
    kib_a_stream,
    measured,
)

US: Final = "penstock"


class Target(msgspec.Struct, frozen=True):
    """A number, the way it must lie, its limit, and how it is shown (`{}` is the number)."""

    text: str
    value: Callable[[Medians], float | None]
    bound: Literal["<=", ">="]
    limit: float
    shown: str

    def row(self, medians: Medians) -> str:
        """One row of the table."""
        value = self.value(medians)
        if value is None:
            return f"| {self.text} | not measured |  |"
        met = value <= self.limit if self.bound == "<=" else value >= self.limit
        return f"| {self.text} | {self.shown.format(value)} | {'yes' if met else '**no**'} |"


def _ratio(load: str, to: str, pick: Callable[..., float]) -> Callable[[Medians], float | None]:
    return lambda medians: medians.ratio(load, US, to, pick)


def _median(load: str, pick: Callable[..., float]) -> Callable[[Medians], float | None]:
    return lambda medians: medians.of(load, US, pick)


def _figure(name: str) -> Callable[[Medians], float | None]:
    return lambda medians: medians.figure(name)


def _log_cpu(medians: Medians) -> float | None:
    at = "log.{}.500.work20.cpu_us"
    journal, memory = at.format("journal-interval"), at.format("memory")
    return divided(medians.figure(journal), medians.figure(memory))


TARGETS: Final[tuple[Target, ...]] = (
    Target(
        "W1: first chunk over direct, p50, ≤ 0.5 ms",
        lambda m: m.over_direct("W1", US),
        "<=",
        500,
        "{:.0f} µs",
    ),
    Target(
        "W1: the same, ≤ 1/20 of LiteLLM's",
        lambda m: divided(m.over_direct("W1", US), m.over_direct("W1", "litellm")),
        "<=",
        1 / 20,
        "{:.4f}",
    ),
    Target("W2b: chunks/s ≥ 0.15 x nginx", _ratio("W2b", "nginx", CHUNKS), ">=", 0.15, "{:.2f} x"),
    Target("W2b: ≥ 100 x LiteLLM", _ratio("W2b", "litellm", CHUNKS), ">=", 100, "{:.0f} x"),
    Target("W2b: ≥ 3 x Portkey", _ratio("W2b", "portkey", CHUNKS), ">=", 3, "{:.1f} x"),
    Target("W3a: none failed", lambda m: m.failed("W3a", US), "<=", 0, "{:.0f} failed"),
    Target(
        "W3a: full rate (≥ 99 % of direct's)",
        lambda m: m.rate_held("W3a", US),
        ">=",
        0.99,
        "{:.1%}",
    ),
    Target(
        "W3a: gap p99 ≤ 30 ms",
        _median("W3a", measured(lambda load: load.gap_p99_us / 1e3)),
        "<=",
        30,
        "{:.1f} ms",
    ),
    Target("W3a: CPU a chunk ≤ 3 x nginx", _ratio("W3a", "nginx", cpu_us), "<=", 3, "{:.2f} x"),
    Target("W3a: ≤ 1/2 of Portkey's", _ratio("W3a", "portkey", cpu_us), "<=", 0.5, "{:.2f} x"),
    Target(
        "W3a: first chunk p99 ≤ 100 ms",
        _median("W3a", measured(lambda load: load.first_p99_us / 1e3)),
        "<=",
        100,
        "{:.1f} ms",
    ),
    Target(
        "W3a: the same while the 500 arrive",
        _median("W3a", measured(lambda load: load.arrival_p99_us / 1e3)),
        "<=",
        100,
        "{:.1f} ms",
    ),
    Target(
        "W3a: memory per open stream ≤ 40 KiB above idle",
        lambda m: m.worst("W3a", US, kib_a_stream),
        "<=",
        40,
        "{:.1f} KiB (worst round)",
    ),
    Target(
        "W4: requests/s ≥ 40 x LiteLLM", _ratio("W4", "litellm", REQUESTS), ">=", 40, "{:.0f} x"
    ),
    Target("W4: ≥ 4 x Portkey", _ratio("W4", "portkey", REQUESTS), ">=", 4, "{:.1f} x"),
    Target(
        "client, asynchronous: CPU a chunk ≤ 6 µs",
        _figure("client.penstock-async.cpu_us"),
        "<=",
        6,
        "{:.1f} µs",
    ),
    Target(
        "client: ≥ 10 x openai-python",
        lambda m: divided(
            m.figure("client.openai-async.cpu_us"), m.figure("client.penstock-async.cpu_us")
        ),
        ">=",
        10,
        "{:.1f} x",
    ),
    Target(
        "embedded engine, 1 stream: ≥ 0.95 x the library's own HTTP server",
        _figure("embedded.1.ratio"),
        ">=",
        0.95,
        "{:.2f} x",
    ),
    Target(
        "embedded engine, 4 streams: the same",
        _figure("embedded.4.ratio"),
        ">=",
        0.95,
        "{:.2f} x",
    ),
    Target(
        "resuming 10 000 events: first byte ≤ 20 ms",
        _figure("resume.http.first_ms"),
        "<=",
        20,
        "{:.1f} ms",
    ),
    Target(
        "resuming 10 000 events: ≥ 200 k events/s",
        _figure("resume.http.events_s"),
        ">=",
        200_000,
        "{:,.0f}/s",
    ),
    Target(
        "log, 500 paced streams, 20 µs of work: visible p50 ≤ 0.4 ms",
        _figure("log.journal-interval.500.work20.p50_us"),
        "<=",
        400,
        "{:.0f} µs",
    ),
    Target(
        "log: the same, p99 ≤ 2 ms",
        _figure("log.journal-interval.500.work20.p99_us"),
        "<=",
        2000,
        "{:.0f} µs",
    ),
    Target("log: the same, CPU ≤ 1.15 x memory", _log_cpu, "<=", 1.15, "{:.2f} x"),
    Target(
        "log, minutes of full load with rolling and retention: no gap over 50 ms",
        _figure("log.soak.worst_gap_ms"),
        "<=",
        50,
        "{:.1f} ms",
    ),
)


def table(medians: Medians) -> list[str]:
    """Every target with what was measured."""
    rows = [target.row(medians) for target in TARGETS]
    always = medians.over_direct("W1", "penstock-always")
    interval = medians.over_direct("W1", US)
    if always is not None and interval is not None:
        rows.append(
            f'| `sync = "always"`, W1: what it adds (reported) | {always - interval:.0f} µs |  |'
        )
    return ["| target | measured | met |", "|---|---|---|", *rows]
