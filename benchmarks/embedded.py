"""The embedded engine beside its library's own HTTP server: tokens/s, memory, time to the start.

Both serve the same GGUF over HTTP to the same plain reader, with the same threads and slots, in
interleaved rounds: once with one core for the server (the reader has the other), once with all
cores for everybody, as on a user's machine. Answers are greedy, so both generate the same tokens;
they are counted by the servers' own `usage`.

    python -m benchmarks.embedded [--rounds 3]
"""

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from benchmarks.library_server import SLOTS
from benchmarks.paths import build, subfolder
from benchmarks.plain_reader import Answer, ask, ask_when_ready
from benchmarks.processes import BenchError, Child, free_ports, guarded, pinned
from benchmarks.results import Figure, write_figures
from benchmarks.servers import penstock_command, written

ANSWERS: Final = 8
STARTS: Final = 5
PROMPTS: Final = (
    "Write a short story about a robot discovering music.",
    "Write a short story about a lighthouse and a storm.",
    "Tell me about the sea.",
    "Count from 1 to 10.",
)


class Rate(msgspec.Struct, frozen=True):
    """One round of one server: what it generated, how fast, CPU a token, and its memory then."""

    tokens: int
    tokens_s: float
    cpu_us: float
    rss_mib: float


class Setting(msgspec.Struct, frozen=True):
    """Which cores the server may use; `None` for all of them."""

    name: str
    core: int | None


SETTINGS: Final = (Setting("all-cores", None), Setting("one-core", 0))


def main() -> None:
    """All settings, then the starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load-core", type=int, default=1)
    options = parser.parse_args()
    print("| figure | value |\n|---|--:|")
    figures = []
    for figure in _everything(options.rounds, options.load_core):
        print(f"| {figure.name} | {figure.value:,.4g} {figure.unit} |", flush=True)
        figures.append(figure)
    write_figures("embedded", figures)


def _everything(rounds: int, load_core: int) -> Iterator[Figure]:
    everywhere = os.sched_getaffinity(0)
    for setting in SETTINGS:
        reader = everywhere if setting.core is None else {load_core}
        yield from _rates(setting, rounds, reader)
        os.sched_setaffinity(0, everywhere)
    yield from _starts()


def _rates(setting: Setting, rounds: int, reader: set[int]) -> Iterator[Figure]:
    prefix = "embedded" if setting.core is None else f"embedded.{setting.name}"
    found: dict[tuple[str, int], list[Rate]] = {}
    with ExitStack() as stack:
        ports = dict(zip(COMMANDS, free_ports(len(COMMANDS)), strict=True))
        servers = {
            name: stack.enter_context(_started(name, port, setting)) for name, port in ports.items()
        }
        os.sched_setaffinity(0, reader)
        for name, port in ports.items():
            servers[name].wait_for_port(port, 60)
            ask_when_ready(port, PROMPTS[0])
            _drive(servers[name], port, SLOTS)
        for _ in range(rounds):
            for streams in (1, SLOTS):
                for name, port in ports.items():
                    rate = _drive(servers[name], port, streams)
                    found.setdefault((name, streams), []).append(rate)
    yield from _summary(prefix, found)


def _summary(prefix: str, found: dict[tuple[str, int], list[Rate]]) -> Iterator[Figure]:
    for streams in (1, SLOTS):
        at = f"{prefix}.{streams}"
        rates = {n: median(rate.tokens_s for rate in found[n, streams]) for n in COMMANDS}
        for name, rate in rates.items():
            yield Figure(name=f"{at}.{name}.tokens_s", value=rate, unit="/s")
            cpu = median(rate.cpu_us for rate in found[name, streams])
            yield Figure(name=f"{at}.{name}.cpu_us_token", value=cpu, unit="us")
        ratio = rates["penstock"] / rates["library"]
        yield Figure(name=f"{at}.ratio", value=ratio, unit="x")
    for name in COMMANDS:
        peak = max(rate.rss_mib for rate in found[name, SLOTS])
        yield Figure(name=f"{prefix}.{name}.rss_mib", value=peak, unit="MiB")


def _drive(server: Child, port: int, streams: int) -> Rate:
    """Each stream asks for some answers, one after the other; different prompts at a time."""
    answers: list[Answer] = []

    def read(first: int) -> None:
        for n in range(ANSWERS):
            answers.append(ask(port, PROMPTS[(first + n) % len(PROMPTS)]))

    begun, cpu = time.perf_counter(), server.cpu_seconds()
    threads = [threading.Thread(target=read, args=(n,), daemon=True) for n in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    seconds, cpu = time.perf_counter() - begun, server.cpu_seconds() - cpu
    if len(answers) != streams * ANSWERS:
        raise BenchError(f"{server.name}: {len(answers)} of {streams * ANSWERS} answers came whole")
    tokens = sum(answer.tokens for answer in answers)
    return Rate(tokens, tokens / seconds, cpu / tokens * 1e6, server.rss_mib())


def _starts() -> Iterator[Figure]:
    """From starting the process to the first piece of text over HTTP."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(STARTS):
        for name in COMMANDS:
            port = free_ports(1)[0]
            begun = time.perf_counter()
            with _started(name, port, SETTINGS[0]) as server:
                server.wait_for_port(port, 60)
                answer = ask_when_ready(port, PROMPTS[0], most=16)
                found[name].append(answer.first_at - begun)
        found.setdefault("command-line", []).append(_command_line_start())
    for name, seconds in found.items():
        yield Figure(name=f"embedded.start.{name}.first_token_s", value=median(seconds), unit="s")


def _command_line_start() -> float:
    """From starting `penstock stream`, with no server there, to the first piece of text."""
    folder = _fresh("command-line")
    nowhere = {"HOME": str(folder), "XDG_STATE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    environment = {**os.environ, **nowhere, "PENSTOCK_SERVER__PORT": str(free_ports(1)[0])}
    command = [*penstock_command(), "stream", "--json", "--max-tokens", "16", PROMPTS[0]]
    begun, first = time.perf_counter(), 0.0
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not first and line.startswith(b'{"type":"text"'):
                first = time.perf_counter()
    if process.returncode or not first:
        raise BenchError(f"penstock stream said no text: status {process.returncode}")
    return first - begun


def _started(name: str, port: int, setting: Setting) -> Child:
    command = COMMANDS[name](_fresh(name), port)
    if setting.core is not None:
        command = pinned(setting.core, command)
    return Child(name, command, log=subfolder("logs") / f"embedded-{name}.log")


def _fresh(name: str) -> Path:
    folder = build() / "sites" / f"embedded-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _penstock(folder: Path, port: int) -> list[str]:
    config = written(folder, "embedded.toml", {"PORT": str(port), "FOLDER": str(folder)})
    return [*penstock_command(), "serve", "--config", str(config), "--port", str(port)]


def _library(_: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.library_server", str(port)]


COMMANDS: Final = {"penstock": _penstock, "library": _library}


if __name__ == "__main__":
    guarded(main)
