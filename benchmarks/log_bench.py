"""The stream log alone: how long from handing an event over until a reader has it.

Each of N streams hands over one batch of one event each 20 ms, at a phase of its own; each has a
reader, which then spends some time as a server would on decoding, encoding and sending. Every
measurement is a process of its own on one core; the variants take turns, round by round.

    python -m benchmarks.log_bench [--rounds 3] [--seconds 4]
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import time
from statistics import median
from typing import Final

import msgspec
import uvloop

from benchmarks.logs import (
    Clock,
    begin,
    opened,
    quantile,
    tokens,
    tune_gc,
    written_bytes,
)
from benchmarks.paths import ROOT, subfolder
from benchmarks.processes import BenchError, guarded, pinned
from benchmarks.results import Figure, write_figures
from penstock.core.events import BEGINNING, Done, StreamId
from penstock.core.ports import Reader, StreamLog

INTERVAL: Final = 0.02
WARM_UP: Final = 0.5


class Visible(msgspec.Struct, frozen=True, kw_only=True):
    """What one process measured. `log_bytes`: the log's own count; the other is all of `write`."""

    events: int
    p50_us: float
    p99_us: float
    max_us: float
    cpu_us: float
    log_bytes: float
    written_bytes: float
    late_p99_ms: float


class Pace:
    """The streams of one process, their readers and what these saw."""

    def __init__(self, log: StreamLog, streams: int, work_us: float, seconds: float) -> None:
        self._log = log
        self._work = work_us / 1e6
        self._loop = asyncio.get_running_loop()
        self._streams = [begin(log, f"paced-{n}") for n in range(streams)]
        self._handed: list[list[float]] = [[0.0] for _ in range(streams)]  # by seq - 1
        self._begun = Clock() + WARM_UP
        self._end = self._loop.time() + WARM_UP + seconds
        self.delays: list[float] = []
        self.late: list[float] = []

    async def run(self) -> None:
        """Until every reader has read its stream to the end."""
        async with asyncio.TaskGroup() as group:
            for n, stream in enumerate(self._streams):
                group.create_task(self._read(n, self._log.reader(stream, BEGINNING)))
                due = self._loop.time() + random.random() * INTERVAL
                self._loop.call_at(due, self._hand_over, n, stream, due)

    def _hand_over(self, n: int, stream: StreamId, due: float) -> None:
        handed = self._handed[n]
        self.late.append(self._loop.time() - due)
        batch = tokens(1, len(handed))
        handed.append(Clock())
        if due < self._end:
            self._log.append(stream, batch)
            self._loop.call_at(due + INTERVAL, self._hand_over, n, stream, due + INTERVAL)
        else:
            self._log.append(stream, [Done(reason="stop")])

    async def _read(self, n: int, reader: Reader) -> None:
        handed = self._handed[n]
        while entries := await reader.take():
            now = Clock()
            for entry in entries:
                was = handed[entry.seq - 1]
                if was >= self._begun:
                    self.delays.append(now - was)
                if self._work:
                    _work(self._work)
        reader.close()


def _work(seconds: float) -> None:
    end = Clock() + seconds
    while Clock() < end:
        pass


async def measure(variant: str, streams: int, work_us: float, seconds: float) -> Visible:
    """One log under one load, in this process."""
    async with opened(variant) as log:
        pace = Pace(log, streams, work_us, seconds)
        tune_gc()
        written, cpu = written_bytes(), time.process_time()
        stored = log.status().bytes
        await pace.run()
        cpu = time.process_time() - cpu
        events = len(pace.late)
        pace.delays.sort()
        pace.late.sort()
        return Visible(
            events=events,
            p50_us=quantile(pace.delays, 0.5) * 1e6,
            p99_us=quantile(pace.delays, 0.99) * 1e6,
            max_us=pace.delays[-1] * 1e6,
            cpu_us=cpu / events * 1e6,
            log_bytes=(log.status().bytes - stored) / events,
            written_bytes=(written_bytes() - written) / events,
            late_p99_ms=quantile(pace.late, 0.99) * 1e3,
        )


def _in_process(core: int, variant: str, streams: int, work: int, seconds: float) -> Visible:
    one = [variant, str(streams), str(work), str(seconds)]
    command = pinned(core, [sys.executable, "-m", "benchmarks.log_bench", "--one", *one])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(one)}: {done.stderr.decode(errors='replace')[-400:]}")
    return msgspec.json.decode(done.stdout, type=Visible)


def _disk() -> Figure:
    """What one `fdatasync` of a small write costs on this disk."""
    path = subfolder("log") / "fdatasync"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(bytes(100))
            begun = Clock()
            os.fdatasync(file.fileno())
            times.append(Clock() - begun)
            time.sleep(0.002)
    path.unlink()
    return Figure(name="log.disk.fdatasync_p50_us", value=median(times) * 1e6, unit="us")


def _figures(name: str, rounds: list[Visible]) -> list[Figure]:
    found = []
    for field in Visible.__struct_fields__:
        values = [float(getattr(one, field)) for one in rounds]
        value = max(values) if field == "max_us" else median(values)
        found.append(Figure(name=f"{name}.{field}", value=value, unit=field.rpartition("_")[2]))
    return found


def _row(key: tuple[str, int, int], rounds: list[Visible]) -> str:
    def middle(field: str) -> float:
        return median(float(getattr(one, field)) for one in rounds)

    variant, streams, work = key
    return (
        f"| {variant} | {streams} | {work} | {middle('p50_us'):.0f} / {middle('p99_us'):.0f} / "
        f"{max(one.max_us for one in rounds):.0f} | {middle('cpu_us'):.1f} | "
        f"{middle('log_bytes'):.0f} | {middle('written_bytes'):.0f} | {middle('late_p99_ms'):.1f} |"
    )


def _all(options: argparse.Namespace) -> None:
    keys = [
        (variant, int(streams), int(work))
        for work in options.work.split(",")
        for streams in options.streams.split(",")
        for variant in options.variants.split(",")
    ]
    found: dict[tuple[str, int, int], list[Visible]] = {key: [] for key in keys}
    for turn in range(options.rounds):
        for key in keys:
            one = _in_process(options.core, *key, options.seconds)
            found[key].append(one)
            print(f"{turn} {key}: {one.p50_us:.0f} / {one.p99_us:.0f} us", flush=True)
    figures = [_disk()]
    print(
        "\n| log | streams | work µs | hand-over to visible, µs: p50 / p99 / max | CPU µs/event | "
        "log bytes/event | written bytes/event | pacing late p99 ms |\n"
        "|---|--:|--:|--:|--:|--:|--:|--:|"
    )
    for key, rounds in found.items():
        variant, streams, work = key
        figures += _figures(f"log.{variant}.{streams}.work{work}", rounds)
        print(_row(key, rounds))
    print(f"\none fdatasync of 100 bytes here: {figures[0].value:.0f} µs")
    write_figures("log", figures)


def main() -> None:
    """Every variant under every load; or one, for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", default="memory,journal-interval,journal-always")
    parser.add_argument("--streams", default="1,64,500")
    parser.add_argument("--work", default="0,20", help="microseconds of other work a batch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--one", nargs=4, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is None:
        _all(options)
        return
    variant, streams, work, seconds = options.one
    one = uvloop.run(measure(variant, int(streams), float(work), float(seconds)))
    print(msgspec.json.encode(one).decode())


if __name__ == "__main__":
    guarded(main)
