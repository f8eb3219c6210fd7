"""What a client library costs: CPU for each chunk of a stream that comes as fast as it is read.

Every reader is a process of its own on one core, the mock upstream has the other; readers take
turns, round by round. What is read is OpenAI's chat completions, one event a write.

    python -m benchmarks.clients
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from statistics import median
from typing import Final

import msgspec
import openai
import uvloop

from benchmarks.fleet import Cores
from benchmarks.logs import REQUEST
from benchmarks.paths import ROOT
from benchmarks.processes import BenchError, free_ports, guarded, pinned
from benchmarks.programs import Mock
from benchmarks.results import Figure
from penstock import TextDelta
from penstock.client.connection import Connection
from penstock.core.request import Sampling

CHUNKS: Final = 2000
ANSWERS: Final = 5
ROUNDS: Final = 3
_QUESTION: Final = "Tell me a story about a gateway."
ReadOne = Callable[[], Coroutine[object, object, int]]


class Cost(msgspec.Struct, frozen=True):
    """Of one reader in one process."""

    chunks_s: float
    cpu_us: float


async def _penstock_async(url: str, stack: AsyncExitStack) -> ReadOne:
    client = await stack.enter_async_context(Connection(url, key="sk-test"))
    request = msgspec.structs.replace(REQUEST, sampling=Sampling(max_tokens=CHUNKS))

    async def read() -> int:
        chunks = 0
        async with client.chat(request) as answering:
            while batch := await answering.take():
                for received in batch:
                    chunks += sum(isinstance(event, TextDelta) for event in received.events)
        return chunks

    return read


async def _openai_async(url: str, stack: AsyncExitStack) -> ReadOne:
    client = await stack.enter_async_context(openai.AsyncOpenAI(base_url=url, api_key="sk-test"))

    async def read() -> int:
        chunks = 0
        answer = await client.chat.completions.create(
            model="mock",
            messages=[{"role": "user", "content": _QUESTION}],
            max_tokens=CHUNKS,
            stream=True,
        )
        async for chunk in answer:
            chunks += bool(chunk.choices and chunk.choices[0].delta.content)
        return chunks

    return read


async def _openai_sync(url: str, stack: AsyncExitStack) -> ReadOne:
    client = stack.enter_context(openai.OpenAI(base_url=url, api_key="sk-test"))

    async def read() -> int:
        chunks = 0
        for chunk in client.chat.completions.create(
            model="mock",
            messages=[{"role": "user", "content": _QUESTION}],
            max_tokens=CHUNKS,
            stream=True,
        ):
            chunks += bool(chunk.choices and chunk.choices[0].delta.content)
        return chunks

    return read


READERS: Final = {
    "penstock-async": _penstock_async,
    "openai-async": _openai_async,
    "openai-sync": _openai_sync,
}


def measure(cores: Cores) -> Iterator[Figure]:
    """CPU a chunk and chunks a second of every reader, medians."""
    found: dict[str, list[Cost]] = {name: [] for name in READERS}
    with Mock(free_ports(1)[0], cores.load) as mock:
        for _ in range(ROUNDS):
            for name in READERS:
                found[name].append(_in_process(name, mock.url + "/v1", cores.gateway))
    for name, costs in found.items():
        cpu = median(cost.cpu_us for cost in costs)
        yield Figure(name=f"client.{name}.cpu_us", value=cpu, unit="us")
        rate = median(cost.chunks_s for cost in costs)
        yield Figure(name=f"client.{name}.chunks_s", value=rate, unit="/s")


def _in_process(name: str, url: str, core: int) -> Cost:
    command = pinned(core, [sys.executable, "-m", "benchmarks.clients", "--one", name, url])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=False)
    if done.returncode:
        raise BenchError(f"{name}: {done.stderr.decode(errors='replace')[-400:]}")
    return msgspec.json.decode(done.stdout, type=Cost)


async def _read_all(name: str, url: str) -> Cost:
    async with AsyncExitStack() as stack:
        read = await READERS[name](url, stack)
        await read()
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in range(ANSWERS):
            if (chunks := await read()) != CHUNKS:
                raise BenchError(f"{name} read {chunks} of {CHUNKS} chunks")
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return Cost(ANSWERS * CHUNKS / seconds, cpu / (ANSWERS * CHUNKS) * 1e6)


def main() -> None:
    """Every reader; or one, for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, default=None, help=argparse.SUPPRESS)
    one = parser.parse_args().one
    if one is not None:
        print(msgspec.json.encode(uvloop.run(_read_all(*one))).decode())
        return
    for figure in measure(Cores()):
        print(f"| {figure.name} | {figure.value:,.4g} {figure.unit} |")


if __name__ == "__main__":
    guarded(main)
