"""What a client library costs: CPU for each chunk of a stream that comes as fast as it is read.

Every reader is a process of its own on one core, the servers have the other; readers take turns,
round by round. OpenAI's and Ollama's chats come from the mock upstream, one event a chunk of HTTP;
native events from a recorded stream. And: how much memory a stream of 100 MB takes.

    python -m benchmarks.clients
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Final

import httpx
import msgspec
import ollama
import openai
import uvloop

from benchmarks.fleet import Cores
from benchmarks.paths import ROOT, subfolder
from benchmarks.processes import BenchError, Child, free_ports, guarded, pinned
from benchmarks.programs import Mock
from benchmarks.results import Figure
from penstock import AsyncClient, Client, TextDelta
from penstock.client.aio import Api

CHUNKS: Final = 2000
ANSWERS: Final = 5
ROUNDS: Final = 3
_QUESTION: Final = "Tell me a story about a gateway."
_BIG_CHUNKS: Final = 12_800
_BIG_BYTES: Final = 8_192
ReadOne = Callable[[], Coroutine[object, object, int]]
Make = Callable[[str, AsyncExitStack], Coroutine[object, object, ReadOne]]


class Cost(msgspec.Struct, frozen=True):
    """Of one reader in one process. `growth`: of its memory, in bytes, while it read 90 MB."""

    chunks_s: float = 0.0
    cpu_us: float = 0.0
    growth: int = 0


def _penstock_async(
    api: Api,
) -> Make:
    async def made(url: str, stack: AsyncExitStack) -> ReadOne:
        client = await stack.enter_async_context(
            AsyncClient(url, key="sk-test", api=api, model="mock")
        )

        async def read() -> int:
            chunks = 0
            async with client.stream(_QUESTION, max_tokens=CHUNKS) as stream:
                async for text in stream.text():
                    chunks += bool(text)
            return chunks

        return read

    return made


def _penstock_sync(api: Api) -> Make:
    async def made(url: str, stack: AsyncExitStack) -> ReadOne:
        client = stack.enter_context(Client(url, key="sk-test", api=api, model="mock"))

        async def read() -> int:
            chunks = 0
            with client.stream(_QUESTION, max_tokens=CHUNKS) as stream:
                for text in stream.text():
                    chunks += bool(text)
            return chunks

        return read

    return made


async def _openai_async(url: str, stack: AsyncExitStack) -> ReadOne:
    client = await stack.enter_async_context(
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-test")
    )

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
    client = stack.enter_context(openai.OpenAI(base_url=f"{url}/v1", api_key="sk-test"))

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


async def _ollama_async(url: str, stack: AsyncExitStack) -> ReadOne:
    client = ollama.AsyncClient(host=url)

    async def read() -> int:
        chunks = 0
        async for part in await client.chat(
            model="mock",
            messages=[{"role": "user", "content": _QUESTION}],
            options={"num_predict": CHUNKS},
            stream=True,
        ):
            chunks += bool(part.message.content)
        return chunks

    return read


async def _httpx_sse(url: str, stack: AsyncExitStack) -> ReadOne:
    connect = import_module("httpx_sse").aconnect_sse
    client = await stack.enter_async_context(httpx.AsyncClient())
    body = {"model": "mock", "stream": True, "max_tokens": CHUNKS, "messages": []}

    async def read() -> int:
        chunks = 0
        target = f"{url}/v1/chat/completions"
        async with connect(client, "POST", target, json=body) as source:
            async for event in source.aiter_sse():
                chunks += '"content"' in event.data
        return chunks

    return read


READERS: Final[dict[str, Make]] = {
    "penstock-async": _penstock_async("openai"),
    "penstock-sync": _penstock_sync("openai"),
    "penstock-async-native": _penstock_async("penstock"),
    "penstock-sync-native": _penstock_sync("penstock"),
    "penstock-async-ollama": _penstock_async("ollama"),
    "openai-async": _openai_async,
    "openai-sync": _openai_sync,
    "ollama-async": _ollama_async,
    **({"httpx-sse": _httpx_sse} if find_spec("httpx_sse") is not None else {}),
}


class _Native:
    """`benchmarks.native_server` on a core of its own."""

    def __init__(self, core: int, chunks: int, size: int) -> None:
        (self.port,) = free_ports(1)
        words = [sys.executable, "-m", "benchmarks.native_server"]
        words += [str(self.port), str(chunks), str(size)]
        log = subfolder("logs") / "native_server.log"
        self._child = Child("native", pinned(core, words), log=log)

    def __enter__(self) -> str:
        self._child.wait_for_port(self.port, 10)
        return f"http://127.0.0.1:{self.port}"

    def __exit__(self, *_: object) -> None:
        self._child.stop()


def measure(cores: Cores) -> Iterator[Figure]:
    """CPU a chunk and chunks a second of every reader, medians; memory of a long stream."""
    found: dict[str, list[Cost]] = {name: [] for name in READERS}
    with Mock(free_ports(1)[0], cores.load) as mock, _Native(cores.load, CHUNKS, 16) as native:
        mock.set(chunks=CHUNKS)
        for _ in range(ROUNDS):
            for name in READERS:
                url = native if name.endswith("-native") else mock.url
                found[name].append(_in_process("--one", name, url, cores.gateway))
    for name, costs in found.items():
        cpu = median(cost.cpu_us for cost in costs)
        yield Figure(name=f"client.{name}.cpu_us", value=cpu, unit="us")
        rate = median(cost.chunks_s for cost in costs)
        yield Figure(name=f"client.{name}.chunks_s", value=rate, unit="/s")
    with _Native(cores.load, _BIG_CHUNKS, _BIG_BYTES) as native:
        for name in ("penstock-async-native", "penstock-sync-native"):
            growth = _in_process("--memory", name, native, cores.gateway).growth
            yield Figure(name=f"client.{name}.growth_100mb", value=growth / 1e6, unit="MB")


def _in_process(what: str, name: str, url: str, core: int) -> Cost:
    command = pinned(core, [sys.executable, "-m", "benchmarks.clients", what, name, url])
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


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def _grown(name: str, url: str) -> Cost:
    """From the 10th megabyte to the 100th."""
    read, marks = 0, []
    if "async" in name:
        async with AsyncClient(url, api="penstock") as client, client.stream("Go") as stream:
            async for event in stream:
                read += len(event.text) if isinstance(event, TextDelta) else 0
                if read >= 10_000_000 and read % (_BIG_BYTES * 64) == 0:
                    marks.append(_resident())
    else:
        with Client(url, api="penstock") as blocking, blocking.stream("Go") as plain:
            for event in plain:
                read += len(event.text) if isinstance(event, TextDelta) else 0
                if read >= 10_000_000 and read % (_BIG_BYTES * 64) == 0:
                    marks.append(_resident())
    if read != _BIG_BYTES * _BIG_CHUNKS:
        raise BenchError(f"{name} read {read} bytes")
    return Cost(growth=max(marks) - marks[0])


def main() -> None:
    """Every reader; or one, for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--memory", nargs=2, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(msgspec.json.encode(uvloop.run(_read_all(*options.one))).decode())
        return
    if options.memory is not None:
        print(msgspec.json.encode(uvloop.run(_grown(*options.memory))).decode())
        return
    for figure in measure(Cores()):
        print(f"| {figure.name} | {figure.value:,.4g} {figure.unit} |", flush=True)


if __name__ == "__main__":
    guarded(main)
