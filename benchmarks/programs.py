"""The two C programs: built when their sources are newer, started, spoken to."""

import subprocess
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from benchmarks.paths import SOURCES, build, subfolder
from benchmarks.processes import BenchError, Child, pinned, program
from benchmarks.results import Load

_HEADERS = ("common.h", "measure.h")


def compiled(name: str) -> Path:
    """The program `name`, built from `name.c`."""
    target = build() / name
    sources = [SOURCES / f"{name}.c", *(SOURCES / header for header in _HEADERS)]
    if target.exists() and target.stat().st_mtime >= max(s.stat().st_mtime for s in sources):
        return target
    compiler = program("cc", "install a C compiler (apt-get install gcc libc6-dev)")
    flags = ["-O2", "-march=native", "-Wall", "-Werror", "-o", str(target), str(sources[0]), "-lm"]
    done = subprocess.run([compiler, *flags], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{name}.c does not compile: {done.stderr.strip().splitlines()[0]}")
    return target


class Mock:
    """The upstream that is always faster than what is measured."""

    def __init__(self, port: int, core: int) -> None:
        self.port = port
        command = pinned(core, [str(compiled("mock")), "-p", str(port)])
        self.child = Child("mock", command, log=subfolder("logs") / "mock.log")

    def __enter__(self) -> Self:
        self.child.wait_for_port(self.port, 10)
        return self

    def __exit__(self, *_: object) -> None:
        self.child.stop()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def set(self, *, delay_us: int = 0, burst: int = 1, chunks: int = 50) -> None:
        """The gap between two chunks of a stream; without one, events in one write. `chunks`: of an
        answer whose request names no number.
        """
        url = f"{self.url}/ctl?delay_us={delay_us}&burst={burst}&n={chunks}"
        with urllib.request.urlopen(url, timeout=5) as reply:
            reply.read()


def drive(port: int, core: int, arguments: Sequence[str], limit: float = 120) -> Load:
    """Runs the load generator once."""
    command = pinned(core, [str(compiled("loadgen")), "-p", str(port), *arguments])
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=limit, check=False
    )
    if done.returncode:
        raise BenchError(f"loadgen ended with {done.returncode}: {done.stderr[:300]}")
    load = msgspec.json.decode(done.stdout, type=Load)
    load.said = done.stderr.strip()[:300]
    return load
