"""What each engine makes of its vectors, from a real socket, however the bytes are cut."""

import asyncio
import random
from pathlib import Path

import pytest

from penstock.core.events import TERMINAL, Event
from penstock.testing.vectors import EngineVector, engine_vectors, heard, rewrite
from penstock.wire import json

ROOT = Path(__file__).parent.parent / "vectors"
VECTORS = engine_vectors(ROOT)
SMALL = 700
SAMPLE = 60
AT_A_TIME = 20


def lines(events: list[Event]) -> list[bytes]:
    """Comparable: raw JSON inside events has no equality of its own."""
    return [json.encode(event) for event in events]


def named(vector: EngineVector) -> str:
    return f"{vector.engine}-{vector.name}"


@pytest.mark.parametrize("vector", VECTORS, ids=named)
async def test_whole(vector: EngineVector) -> None:
    events = await heard(vector, [vector.body])
    assert lines(events) == lines(vector.events())
    assert [isinstance(event, TERMINAL) for event in events].index(True) == len(events) - 1


@pytest.mark.parametrize("vector", VECTORS, ids=named)
async def test_cut_in_two(vector: EngineVector) -> None:
    cuts = list(range(1, len(vector.body)))
    if len(vector.body) > SMALL:
        cuts = sorted(random.Random(vector.name).sample(cuts, SAMPLE))
    expected = lines(vector.events())
    limit = asyncio.Semaphore(AT_A_TIME)

    async def check(cut: int) -> None:
        async with limit:
            events = await heard(vector, [vector.body[:cut], vector.body[cut:]])
        assert lines(events) == expected, f"cut at {cut}"

    async with asyncio.TaskGroup() as tasks:
        for cut in cuts:
            tasks.create_task(check(cut))


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
