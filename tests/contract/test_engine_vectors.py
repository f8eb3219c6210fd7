"""What each engine makes of its vectors, however the bytes are cut: from a real socket, and, where
every single cut is to be tried, from memory in the place of the connection.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from penstock import registry
from penstock.core.events import TERMINAL, Event, ToolCallDelta
from penstock.core.ports import Engine, Timeouts
from penstock.engines import _http
from penstock.testing.vectors import EngineVector, engine_vectors, heard, rewrite
from penstock.wire import json

ROOT = Path(__file__).parent.parent / "vectors"
VECTORS = engine_vectors(ROOT)
SMALL = 700
SAMPLE = 20
AT_A_TIME = 20


def lines(events: Sequence[Event]) -> list[bytes]:
    """Comparable: raw JSON inside events has no equality of its own."""
    return [json.encode(event) for event in events]


def named(vector: EngineVector) -> str:
    return f"{vector.engine}-{vector.name}"


def calls(vector: EngineVector) -> bool:
    return any(isinstance(event, ToolCallDelta) for event in vector.events())


EVERY_CUT = [v for v in VECTORS if calls(v) or len(v.body) <= SMALL]


class Pieces:
    """In the place of a connection: every answer is `pieces`, one a read."""

    status = 200
    closed = False

    def __init__(self, content_type: str) -> None:
        self.headers = {"Content-Type": content_type}
        self.pieces: list[bytes] = []

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> "Pieces":
        del method, path, headers, body
        return self

    async def readany(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None:
        self.pieces.clear()

    async def aclose(self) -> None:
        self.close()


@pytest.mark.parametrize("vector", VECTORS, ids=named)
async def test_whole(vector: EngineVector) -> None:
    events = await heard(vector, [vector.body])
    assert lines(events) == lines(vector.events())
    assert [isinstance(event, TERMINAL) for event in events].index(True) == len(events) - 1


@pytest.mark.parametrize("vector", VECTORS, ids=named)
async def test_cut_in_two(vector: EngineVector) -> None:
    cuts = random.Random(vector.name).sample(range(1, len(vector.body)), SAMPLE)
    expected = lines(vector.events())
    limit = asyncio.Semaphore(AT_A_TIME)

    async def check(cut: int) -> None:
        async with limit:
            events = await heard(vector, [vector.body[:cut], vector.body[cut:]])
        assert lines(events) == expected, f"cut at {cut}"

    async with asyncio.TaskGroup() as tasks:
        for cut in cuts:
            tasks.create_task(check(cut))


@pytest.mark.parametrize("vector", EVERY_CUT, ids=named)
async def test_cut_at_every_byte(vector: EngineVector, monkeypatch: pytest.MonkeyPatch) -> None:
    spoken = Pieces(vector.content_type)
    monkeypatch.setattr(_http, "PlainCarrier", lambda *_, **__: spoken)
    module = registry.load("engines", vector.engine)
    engine: Engine = module.Engine(module.Config(url="http://127.0.0.1:1"), Timeouts())
    expected = vector.events()
    told = lines(expected)
    for cut in range(1, len(vector.body)):
        spoken.pieces = [vector.body[:cut], vector.body[cut:]]
        events = [event async for batch in engine.stream(vector.request) for event in batch]
        assert events == expected or lines(events) == told, f"cut at {cut}"
    await engine.aclose()


def test_every_http_engine_has_calls_and_parallel_calls() -> None:
    engines = {vector.engine for vector in VECTORS}
    assert {v.engine for v in VECTORS if calls(v)} == engines
    several = [
        v.engine
        for v in VECTORS
        if len({e.part for e in v.events() if isinstance(e, ToolCallDelta)}) > 1
    ]
    assert set(several) == engines


@pytest.mark.parametrize("vector", VECTORS, ids=named)
async def test_in_small_pieces(vector: EngineVector) -> None:
    pieces = [vector.body[n : n + 97] for n in range(0, len(vector.body), 97)]
    assert lines(await heard(vector, pieces)) == lines(vector.events())


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_names_its_source(vector: EngineVector) -> None:
    assert len((vector.folder / "source.txt").read_text().split()) > 5


async def test_rewriting_changes_nothing(tmp_path: Path) -> None:
    vector = next(v for v in VECTORS if named(v) == "openai-length")
    folder = tmp_path / "engines" / "openai" / "length"
    folder.mkdir(parents=True)
    (folder / "upstream.body").write_bytes(vector.body)
    await rewrite(tmp_path)
    assert (folder / "events.jsonl").read_bytes() == (vector.folder / "events.jsonl").read_bytes()
