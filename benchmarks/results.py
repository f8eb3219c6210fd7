"""What a run leaves behind: one line a drive, one file a set of figures."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from benchmarks.paths import figures


class Load(msgspec.Struct, kw_only=True):
    """What the load generator counted. `said`: bodies of answers that were errors.

    `chunks`: those of whole answers; `seen`: those of answers that were cut off too.
    """

    ok: int
    wanted: int
    bad_status: int
    bad_count: int
    bad_example: int
    errors: int
    seconds: float
    requests_s: float
    chunks_s: float
    chunks: int
    seen: int
    cpu_s: float
    cpu_share: float
    rss_before_mib: float
    rss_peak_mib: float
    first_p50_us: float
    first_p99_us: float
    arrival_p50_us: float
    arrival_p99_us: float
    delay_p50_us: float
    delay_p99_us: float
    gap_p50_us: float
    gap_p99_us: float
    total_p50_us: float
    total_p99_us: float
    chunks_a_read: float
    said: str = ""


class Result(msgspec.Struct, kw_only=True):
    """One drive of one server. `tcp`: listen overflows, time-outs, repeated SYNs of the system.

    `idle_mib`: memory when the server had just started. `quiet`: all servers were idle before it.
    `others`: cores that programs which are not of this benchmark used meanwhile.
    """

    server: str
    load: str
    round: int
    idle_mib: float
    quiet: bool
    others: float
    tcp: tuple[int, int, int]
    measured: Load


class Figure(msgspec.Struct, kw_only=True):
    """One number that is not a drive: of the log, an encoder, a client, the embedded engine."""

    name: str
    value: float
    unit: str


def read_results(path: Path) -> list[Result]:
    """Every drive of a file."""
    return [msgspec.json.decode(line, type=Result) for line in path.read_bytes().splitlines()]


def add_result(path: Path, result: Result) -> None:
    """Appends one drive."""
    with path.open("ab") as out:
        out.write(msgspec.json.encode(result) + b"\n")


def write_figures(name: str, found: Iterable[Figure]) -> None:
    """Replaces one set of figures."""
    lines = [msgspec.json.encode(figure) + b"\n" for figure in found]
    (figures() / f"{name}.jsonl").write_bytes(b"".join(lines))


def read_figures() -> dict[str, Figure]:
    """All figures that were ever measured in this folder, by name."""
    lines = [
        line
        for file in sorted(figures().glob("*.jsonl"))
        for line in file.read_bytes().splitlines()
    ]
    found = [msgspec.json.decode(line, type=Figure) for line in lines]
    return {figure.name: figure for figure in found}
