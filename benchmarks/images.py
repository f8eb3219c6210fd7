"""Seconds a picture through Penstock beside the same pipeline called directly, and memory.

Penstock is the whole gateway in this process with its defaults (journal, previews), asked by
`submit` and read to the end; the picture is read back too. The pipeline alone runs in a process of
its own and makes the same PNG. Taken in turns, one picture each; the medians are compared.

    python -m benchmarks.images [--path FOLDER] [--pictures 10] [--steps 30]

Without --path: the demo image model. Needs `make setup-images`.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.paths import ROOT, build
from benchmarks.processes import BenchError, guarded
from benchmarks.results import Figure, write_figures
from penstock import compose
from penstock.config.schema import Config, Streams
from penstock.core.events import BEGINNING, Failed, Image, StreamId
from penstock.core.messages import say
from penstock.core.principals import LOCAL
from penstock.core.request import ImageAsk, Request, Sampling
from penstock.gateway.gateway import Gateway

DEMO: Final = ROOT / "src" / "penstock" / "models" / "penstock-demo-image"
PROMPT: Final = "a red circle above a blue square"
MANY: Final = 100
_WARM: Final = 3
_MIB: Final = 2**20


class Direct:
    """The pipeline alone."""

    def __init__(self, path: Path, steps: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.direct_pictures", str(path), str(steps), PROMPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("the pipeline alone did not draw")
        return line

    def seconds(self, seed: int) -> float:
        """One picture."""
        assert self._process.stdin is not None
        begun = time.perf_counter()
        self._process.stdin.write(f"{seed}\n")
        self._process.stdin.flush()
        self._line()
        return time.perf_counter() - begun

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


@contextmanager
def direct(path: Path, steps: int) -> Iterator[Direct]:
    """The same, ended at the end."""
    found = Direct(path, steps)
    try:
        yield found
    finally:
        found.close()


async def through(gateway: Gateway, steps: int, seed: int) -> float:
    """One picture through the gateway, until its bytes are here."""
    request = Request(
        modality="image",
        messages=(say("user", PROMPT),),
        image=ImageAsk(steps=steps),
        sampling=Sampling(seed=seed),
        stream=True,
    )
    begun = time.perf_counter()
    head = await gateway.submit(request, "bench", LOCAL)
    stream = StreamId(head.stream)
    watch = gateway.watch(stream, BEGINNING)
    pictures = []
    while batch := await watch.take():
        for entry in batch:
            if isinstance(entry.event, Failed):
                raise BenchError(entry.event.message)
            if isinstance(entry.event, Image):
                pictures.append(await gateway.picture(stream, entry.event.blob.sha256))
    watch.close()
    if len(pictures) != 1:
        raise BenchError(f"{len(pictures)} pictures came")
    return time.perf_counter() - begun


def resident_mib(process: int) -> float:
    """Main memory of a process."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


def drawer() -> int:
    """The process that the engine started."""
    for path in Path("/proc/self/task").glob("*/children"):
        for child in path.read_text().split():
            if b"_diffusers_worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    raise BenchError("the engine has no process")


async def compare(path: Path, steps: int, pictures: int) -> list[Figure]:
    """Both in turns, then many pictures through the gateway."""
    folder = build() / "sites" / "images"
    shutil.rmtree(folder, ignore_errors=True)
    config = Config(
        streams=Streams(folder=str(folder)),
        bindings={"drawing": {"engine": "diffusers", "path": str(path)}},
    )
    times: dict[str, list[float]] = {"direct": [], "penstock": []}
    async with compose.open_gateway(config, {}, stored_keys=False) as gateway:
        await gateway.bindings.started(300)
        with direct(path, steps) as alone:
            for seed in range(_WARM + pictures):
                times["direct"].append(await asyncio.to_thread(alone.seconds, seed))
                times["penstock"].append(await through(gateway, steps, seed))
        before = resident_mib(drawer()), resident_mib(os.getpid())
        for seed in range(MANY):
            await through(gateway, steps, seed)
        after = resident_mib(drawer()), resident_mib(os.getpid())
    medians = {name: median(found[_WARM:]) for name, found in times.items()}
    return [
        Figure(name="images.direct.picture_s", value=medians["direct"], unit="s"),
        Figure(name="images.penstock.picture_s", value=medians["penstock"], unit="s"),
        Figure(name="images.ratio", value=medians["penstock"] / medians["direct"], unit="x"),
        Figure(name="images.worker.rss_mib", value=after[0], unit="MiB"),
        Figure(name="images.worker.grown_mib", value=after[0] - before[0], unit="MiB"),
        Figure(name="images.gateway.grown_mib", value=after[1] - before[1], unit="MiB"),
    ]


def main() -> None:
    """Prints the figures, and keeps them for the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, default=DEMO)
    parser.add_argument("--pictures", type=int, default=10)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    if not options.path.is_dir():
        raise BenchError(f"{options.path} is missing")
    found = asyncio.run(compare(options.path.resolve(), options.steps, options.pictures))
    print("| figure | value |\n|---|--:|")
    for figure in found:
        print(f"| {figure.name} | {figure.value:,.4g} {figure.unit} |")
    write_figures("images", found)


if __name__ == "__main__":
    guarded(main)
