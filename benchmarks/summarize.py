"""Medians and ratios of one run as Markdown: python -m benchmarks.summarize [results.jsonl]."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import targets
from benchmarks.medians import (
    CHUNKS,
    FIRST,
    REQUESTS,
    Medians,
    Pick,
    cpu_us,
    kib_a_stream,
    kib_a_stream_above_start,
    measured,
)
from benchmarks.paths import subfolder
from benchmarks.processes import BUSY, BenchError, guarded
from benchmarks.results import read_figures, read_results

PEERS: Final = {"nginx": "nginx", "litellm": "LiteLLM", "portkey": "Portkey"}


class Headline(msgspec.Struct, frozen=True):
    """The one number of a load that the ratios are about."""

    text: str
    pick: Pick


HEADLINES: Final = {
    "W1": Headline("one stream at a time; ratios: first chunk p50, less is better", FIRST),
    "W2": Headline("64 streams x 200 chunks, one event a write; ratios: chunks/s", CHUNKS),
    "W2b": Headline("the same, ten events a write; ratios: chunks/s", CHUNKS),
    "W4": Headline("64 connections, no stream; ratios: requests/s", REQUESTS),
}
_PACED: Final = Headline("paced streams; ratios: CPU a chunk, less is better", cpu_us)
Column = tuple[str, Callable[[Medians, str, str], str]]


def _cell(shown: str, *picks: Pick) -> Callable[[Medians, str, str], str]:
    def cell(medians: Medians, load: str, server: str) -> str:
        values = [medians.of(load, server, pick) for pick in picks]
        return shown.format(*values)

    return cell


def _times(name: str, first: Pick, second: Pick) -> Column:
    return (f"{name} p50/p99 ms", _cell("{:.2f} / {:.2f}", first, second))


def _ms(field: str) -> Pick:
    return measured(lambda load: float(getattr(load, field)) / 1e3)


COLUMNS: Final[tuple[Column, ...]] = (
    ("requests/s", _cell("{:.0f}", REQUESTS)),
    ("chunks/s", _cell("{:.0f}", CHUNKS)),
    ("CPU µs/chunk", _cell("{:.2f}", cpu_us)),
    ("CPU", _cell("{:.0%}", measured(lambda load: load.cpu_share))),
    _times("first chunk", _ms("first_p50_us"), _ms("first_p99_us")),
    _times("chunk delay", _ms("delay_p50_us"), _ms("delay_p99_us")),
    ("gap p99 ms", _cell("{:.1f}", _ms("gap_p99_us"))),
    (
        "memory, MiB: start → before → peak",
        _cell(
            "{:.0f} → {:.0f} → {:.0f}",
            lambda result: result.idle_mib,
            measured(lambda load: load.rss_before_mib),
            measured(lambda load: load.rss_peak_mib),
        ),
    ),
    ("failed", lambda medians, load, server: f"{medians.failed(load, server):.0f}"),
)
PACED_COLUMNS: Final[tuple[Column, ...]] = (
    ("rate held", lambda medians, load, server: _share(medians.rate_held(load, server))),
    ("first chunk p99 while they arrive, ms", _cell("{:.1f}", _ms("arrival_p99_us"))),
    ("first chunk p99, ms", _cell("{:.1f}", _ms("first_p99_us"))),
    ("gap p99, ms", _cell("{:.1f}", _ms("gap_p99_us"))),
    ("KiB per open stream", _cell("{:.1f}", kib_a_stream)),
    ("KiB per open stream over start", _cell("{:.1f}", kib_a_stream_above_start)),
)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _ratio(medians: Medians, load: str, server: str, peer: str) -> str:
    value = medians.ratio(load, server, peer, HEADLINES.get(load, _PACED).pick)
    return "" if value is None else f"{value:.3g}"


def _table(medians: Medians, load: str, columns: tuple[Column, ...]) -> list[str]:
    peers = [peer for peer in PEERS if peer in medians.servers(load)]
    titles = ["server", *(name for name, _ in columns), *(f"x {PEERS[peer]}" for peer in peers)]
    lines = [f"| {' | '.join(titles)} |", f"|---|{'--:|' * (len(titles) - 1)}"]
    for server in medians.servers(load):
        cells = [cell(medians, load, server) for _, cell in columns]
        cells += [_ratio(medians, load, server, peer) for peer in peers]
        lines.append(f"| {server} | {' | '.join(cells)} |")
    return lines


def report(path: Path) -> str:
    """All tables of one run."""
    medians = Medians(read_results(path), read_figures())
    lines: list[str] = []
    for load in medians.loads():
        headline = HEADLINES.get(load, _PACED)
        lines += [f"## {load}: {headline.text} (medians of {medians.rounds(load)})", ""]
        lines += [*_table(medians, load, COLUMNS), ""]
        if medians.others(load) > BUSY:
            others = f"{medians.others(load):.1f} cores"
            lines += [f"**Disturbed: other programs used {others} of this machine meanwhile.**", ""]
    if "W3a" in medians.loads():
        lines += ["## W3a: 500 paced streams, more closely", ""]
        lines += [*_table(medians, "W3a", PACED_COLUMNS), ""]
    lines += ["## To reach", "", *targets.table(medians), ""]
    return "\n".join(lines)


def main() -> None:
    """Prints the tables of a results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?")
    path: Path = parser.parse_args().results or subfolder("results") / "bench-peers.jsonl"
    if not path.exists():
        raise BenchError(f"{path} is missing: run `make bench-peers`, or name a results file")
    print(report(path))


if __name__ == "__main__":
    guarded(main)
