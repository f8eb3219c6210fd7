"""Micro-benchmarks: encoders, logs, resuming, client readers.

python -m benchmarks.micro [encoders,logs,resume,clients]
"""

import argparse
import os
from collections.abc import Iterable

import uvloop

from benchmarks import clients, encoders, log_speed, resume
from benchmarks.fleet import Cores
from benchmarks.processes import guarded
from benchmarks.results import Figure, write_figures


def _show(name: str, figures: Iterable[Figure]) -> None:
    found = []
    for figure in figures:
        print(f"| {figure.name} | {figure.value:,.4g} {figure.unit} |", flush=True)
        found.append(figure)
    write_figures(name, found)


async def _logs() -> list[Figure]:
    return [figure async for figure in log_speed.measure()]


def main() -> None:
    """Measures the parts that were asked for, in turn, and keeps their figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="?", default="encoders,logs,resume,clients")
    parser.add_argument("--gateway-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    options = parser.parse_args()
    cores = Cores(options.gateway_core, options.load_core)
    parts = options.parts.split(",")
    print("| figure | value |\n|---|--:|")
    if "resume" in parts:
        _show("resume", resume.measure(cores))
    if "clients" in parts:
        _show("clients", clients.measure(cores))
    os.sched_setaffinity(0, {cores.gateway})
    if "encoders" in parts:
        _show("encoders", encoders.measure())
    if "logs" in parts:
        _show("log-speed", uvloop.run(_logs()))


if __name__ == "__main__":
    guarded(main)
