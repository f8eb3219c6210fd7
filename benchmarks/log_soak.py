"""Minutes of full load on the journal: do readers ever wait, while segments roll and go?

64 streams at a time in one process, each handing over ten events as soon as its reader has the last
ten; 200 such batches end a stream and another begins. The settings are the defaults, so segments
roll, the index follows and retention deletes behind it. Each batch costs the loop 20 us more, as
reading, encoding and sending ten chunks do at the very least: a load like W2b's. With `--work-us 0`
the log gets all that one core can hand over, several times what a gateway can ask of it.

    python -m benchmarks.log_soak [--minutes 10] [--work-us 20]
"""

import argparse
import asyncio
import os
import time
from typing import Final

import uvloop

from benchmarks.logs import Clock, begin, opened, tokens, tune_gc
from benchmarks.processes import guarded
from benchmarks.results import Figure, write_figures
from penstock.core.events import BEGINNING, Done
from penstock.core.ports import StreamLog

STREAMS: Final = 64
BATCHES: Final = 200
BATCH: Final = 10
_SAY_EVERY: Final = 10.0


class Soak:
    """What the streams and their readers went through."""

    def __init__(self, log: StreamLog, seconds: float, work: float) -> None:
        self._log = log
        self._busy = work
        self._end = Clock() + seconds
        self.events = 0
        self.streams = 0
        self.worst_gap = 0.0
        self.gaps_over_50_ms = 0

    async def run(self) -> None:
        """All workers, to the end of the time."""
        async with asyncio.TaskGroup() as group:
            for n in range(STREAMS):
                group.create_task(self._work(n))
            group.create_task(self._say())

    async def _work(self, n: int) -> None:
        batch = tokens(BATCH)
        while Clock() < self._end:
            self.streams += 1
            stream = begin(self._log, f"soak-{n}-{self.streams}")
            reader = self._log.reader(stream, BEGINNING)
            await reader.take()
            for _ in range(BATCHES):
                handed = Clock()
                self._log.append(stream, batch)
                seen = 0
                while seen < BATCH:
                    seen += len(await reader.take())
                self._note(Clock() - handed)
                until = Clock() + self._busy
                while Clock() < until:
                    pass
                self.events += BATCH
            self._log.append(stream, [Done(reason="stop")])
            await reader.take()
            reader.close()

    def _note(self, gap: float) -> None:
        self.worst_gap = max(self.worst_gap, gap)
        self.gaps_over_50_ms += gap > 0.05

    async def _say(self) -> None:
        begun, events = Clock(), 0
        while Clock() < self._end:
            await asyncio.sleep(min(_SAY_EVERY, self._end - Clock()))
            status = self._log.status()
            rate, events = (self.events - events) / _SAY_EVERY, self.events
            print(
                f"{Clock() - begun:5.0f} s  {rate:9,.0f} events/s  {self.streams} streams  "
                f"{status.bytes / 2**20:,.0f} MiB  worst gap {self.worst_gap * 1e3:.1f} ms",
                flush=True,
            )


async def _soak(minutes: float, work_us: float) -> list[Figure]:
    async with opened("journal-interval") as log:
        tune_gc()
        soak = Soak(log, minutes * 60, work_us / 1e6)
        begun, cpu = Clock(), time.process_time()
        await soak.run()
        seconds, cpu = Clock() - begun, time.process_time() - cpu
    values = [
        ("minutes", seconds / 60, "min"),
        ("work_us_batch", work_us, "us"),
        ("events_s", soak.events / seconds, "/s"),
        ("cpu_us_event", cpu / soak.events * 1e6, "us"),
        ("worst_gap_ms", soak.worst_gap * 1e3, "ms"),
        ("gaps_over_50_ms", float(soak.gaps_over_50_ms), "gaps"),
    ]
    return [Figure(name=f"log.soak.{name}", value=value, unit=unit) for name, value, unit in values]


def main() -> None:
    """Runs it on one core and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--work-us", type=float, default=20.0)
    parser.add_argument("--core", type=int, default=0)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    figures = uvloop.run(_soak(options.minutes, options.work_us))
    write_figures("log-soak", figures)
    for figure in figures:
        print(f"| {figure.name} | {figure.value:,.4g} {figure.unit} |")


if __name__ == "__main__":
    guarded(main)
