"""Whoever leaves, drops, closes or stops leaves nothing open, and nobody waiting."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.client.faces import Face
from tests.integration.serving import ROOT, SSE_HEAD, Serving, Upstream, said

import penstock
from penstock import AsyncClient, Client, GatewayError, Start
from penstock.core import errors

STUCK = "stuck/long"
"""Says one piece, and nothing more for ten minutes."""


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    return Face(request.param)


def readers(server: Serving) -> float:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=5) as answer:
        found = re.search(r"^penstock_readers ([\d.]+)", answer.read().decode(), re.M)
    assert found
    return float(found[1])


async def nobody_reads(server: Serving) -> None:
    async with asyncio.timeout(10):
        while await asyncio.to_thread(readers, server):
            await asyncio.sleep(0.01)


async def first_piece(face: Face, stream: Any) -> None:
    """Reads one piece and drops the iterator."""
    if face.kind == "async":
        async for event in stream:
            if not isinstance(event, Start):
                return
    await asyncio.to_thread(_first, stream)


def _first(stream: Any) -> None:
    for event in stream:
        if not isinstance(event, Start):
            return


async def test_a_stream_that_nobody_has_any_more_is_let_go(face: Face, server: Serving):
    async with face.within(face.client(server.url)) as client:
        await first_piece(face, client.stream("Go", model=STUCK))
        await nobody_reads(server)
        client.stream("Go", model=STUCK)
        never_read = client.stream("Go", model=STUCK)
        del never_read
        await nobody_reads(server)


async def test_an_answer_of_another_server_is_let_go(face: Face):
    plain = Upstream([[SSE_HEAD, said("Hi"), "stall"]])
    try:
        async with face.within(face.client(plain.url, api="openai", model="m")) as client:
            await first_piece(face, client.stream("Hi"))
            assert await asyncio.to_thread(plain.gone.wait, 10)
    finally:
        plain.close()


async def test_a_block_that_is_left_early_closes_the_connection(face: Face, server: Serving):
    async with face.within(face.client(server.url)) as client:
        async with face.within(client.stream("Go", model=STUCK)) as stream:
            await first_piece(face, stream)
        await nobody_reads(server)
        assert await face.call(stream.cancel)


async def test_a_cancelled_task_lets_go(server: Serving):
    async with AsyncClient(server.url) as client:
        begun = asyncio.Event()

        async def read() -> None:
            async with client.stream("Go", model=STUCK) as stream:
                async for event in stream:
                    if not isinstance(event, Start):
                        begun.set()

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read())
            await begun.wait()
            reading.cancel()
        assert reading.cancelled()
        await nobody_reads(server)


async def told_while_reading(face: Face, client: Any, stop: str, model: str = STUCK) -> list[str]:
    """Reads in one task or thread, stops in another; what the reader was told, if anything."""
    stream = client.stream("Go", model=model)
    begun = threading.Event()
    told: list[str] = []

    def blocking() -> None:
        with noted(told):
            for event in stream:
                if not isinstance(event, Start):
                    begun.set()

    async def waiting() -> None:
        with noted(told):
            async for event in stream:
                if not isinstance(event, Start):
                    begun.set()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(blocking) if face.kind == "sync" else waiting())
        while not begun.is_set():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # now it waits for the next piece
        await face.call(client.close if stop == "client" else getattr(stream, stop))
    return told


@contextmanager
def noted(told: list[str]) -> Iterator[None]:
    try:
        yield
    except GatewayError as error:
        told.append(str(error))


STOPS = [("close", "closed before its end"), ("cancel", None), ("client", "client was closed|cut")]


@pytest.mark.parametrize("api", ["penstock", "openai"])
@pytest.mark.parametrize(("stop", "text"), STOPS)
async def test_nobody_is_left_waiting(
    face: Face, server: Serving, api: str, stop: str, text: str | None
):
    async with face.within(face.client(server.url, api=api)) as client:
        told = await told_while_reading(face, client, stop)
    await nobody_reads(server)
    assert len(told) == (text is not None)
    assert all(re.search(text or "", one) for one in told)


@pytest.mark.parametrize(("stop", "text"), STOPS[:2])
async def test_nobody_is_left_waiting_inside(
    face: Face, tmp_path: Path, stop: str, text: str | None
):
    folder = tmp_path / "stuck"
    folder.mkdir()
    (folder / "long.jsonl").write_text('{"type":"text","part":1,"text":"so"}\n' * 3)
    async with face.within(penstock.open(f"replay:{folder}", interval_ms=600000)) as client:
        told = await told_while_reading(face, client, stop, "long")
    assert len(told) == (text is not None)
    assert all(re.search(text or "", one) for one in told)


READER = """
import sys
import penstock

try:
    with (
        penstock.Client(sys.argv[1], api=sys.argv[2]) as client,
        client.stream("Go", model="stuck/long") as stream,
    ):
        for event in stream:
            print(event, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("api", ["penstock", "openai", "ollama"])
def test_ctrl_c_ends_a_blocking_stream(server: Serving, api: str):
    reader = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", READER, server.url, api],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert reader.stdout is not None
    while "Delta" not in (line := reader.stdout.readline()):
        assert line
    reader.send_signal(signal.SIGINT)
    said, _ = reader.communicate(timeout=20)
    assert said == "interrupted\n"
    assert reader.returncode == 0
    asyncio.run(nobody_reads(server))


async def test_a_closed_client_says_so(face: Face, server: Serving):
    client = face.client(server.url)
    await face.call(client.models)
    await face.call(client.close)
    await face.call(client.close)
    with pytest.raises(errors.InvalidRequestError, match="client was closed"):
        await face.call(client.models)


def test_an_async_client_of_another_loop_says_so(server: Serving):
    client = AsyncClient(server.url)

    async def asked() -> int:
        return len(await client.models())

    with asyncio.Runner() as first:
        assert first.run(asked())
        with (
            asyncio.Runner() as second,
            pytest.raises(errors.InvalidRequestError, match="one event loop"),
        ):
            second.run(asked())
        first.run(client.close())


async def test_a_blocking_client_within_a_running_loop(server: Serving):
    with Client(server.url) as client, client.stream("Go", model="played/long") as stream:
        assert "".join(stream.text())


def test_an_engine_that_was_closed_says_so(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"type":"text","part":1,"text":"so"}\n')
    with penstock.open(f"replay:{tmp_path}", model="a") as client:
        pass
    with pytest.raises(errors.UnavailableError, match="the engine was closed"):
        client.generate("Go")
