"""Our own `ollama` engine on our own `ollama` dialect: the same as asking directly."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.integration.both_ways import ASKED
from tests.integration.embedded import DEMO, ask, events, reply, running
from tests.integration.serving import Serving, serve
from tests.integration.test_same_everywhere import CALL, EVENTS

from penstock.core import events as ev
from penstock.core.errors import InvalidRequestError, UnknownModelError
from penstock.core.folding import Reply
from penstock.core.ports import Timeouts
from penstock.core.queries import EmbedAsk
from penstock.core.request import Sampling
from penstock.engines import llamacpp, ollama

MODEL = "penstock-demo"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serve(tmp_path_factory.mktemp("server"), "") as serving:
        yield serving


@pytest.fixture
async def engine(server: Serving) -> AsyncIterator[ollama.Engine]:
    found = ollama.Engine(ollama.Config(url=server.url, model=MODEL), Timeouts())
    await found.start()
    try:
        yield found
    finally:
        await found.aclose()


@pytest.fixture
async def direct() -> AsyncIterator[llamacpp.Engine]:
    async with running() as found:
        yield found


def heard(told: Reply) -> object:
    """All that was said, and by how many tokens; calls by what they ask for."""
    first, usage = told.first, told.usage
    assert usage is not None
    calls = [(call.name, json.loads(call.arguments)) for call in first.tool_calls]
    counts = (usage.input_tokens, usage.output_tokens)
    return first.text, first.reasoning, calls, first.reason, counts


@pytest.mark.parametrize("name", ASKED)
async def test_the_same_reply(name: str, engine: ollama.Engine, direct: llamacpp.Engine):
    asked = ASKED[name]
    expected = await reply(direct, asked)
    found = await reply(engine, asked)
    assert heard(found) == heard(expected)
    said = heard(expected)
    assert isinstance(said, tuple)
    assert any(said[:3])
    assert found.usage is not None
    assert found.usage.timings is not None
    assert found.usage.timings.prompt > 0
    assert found.usage.timings.generation > 0


async def test_text_arrives_in_the_same_pieces_as_it_is_made(engine: ollama.Engine):
    deltas = [
        e for e in await events(engine, ask("What is streaming?")) if isinstance(e, ev.TextDelta)
    ]
    assert len(deltas) > 10


async def test_everything_that_can_be_said_comes_through(tmp_path: Path):
    tape = tmp_path / "tape.jsonl"
    tape.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in EVENTS))
    with serve(tmp_path, f'[bindings.tape]\nengine = "replay"\npath = "{tape}"\n') as serving:
        engine = ollama.Engine(ollama.Config(url=serving.url, model="default"), Timeouts())
        try:
            told = await reply(engine, ask("Weather?", Sampling()))
        finally:
            await engine.aclose()
    assert told.first.text == "Let me look\u2028 \U0001f600."
    assert told.first.reasoning == "The user asks for the weather in Orl\u00e9ans."
    calls = [(call.id, call.name, json.loads(call.arguments)) for call in told.first.tool_calls]
    assert calls == [("call_1", "get_weather", json.loads(CALL)), ("call_2", "now", {})]
    assert told.first.reason == "tool_calls"
    assert told.usage is not None
    assert (told.usage.input_tokens, told.usage.output_tokens) == (31, 17)


async def test_a_failure_comes_through(tmp_path: Path):
    tape = tmp_path / "tape.jsonl"
    tape.write_text(
        '{"type":"text","part":1,"text":"Once"}\n'
        '{"type":"failed","code":"engine_failed","message":"it broke"}\n'
    )
    with serve(tmp_path, f'[bindings.tape]\nengine = "replay"\npath = "{tape}"\n') as serving:
        engine = ollama.Engine(ollama.Config(url=serving.url, model="default"), Timeouts())
        try:
            for raw in (False, True):
                asked = msgspec.structs.replace(ask("Hi", Sampling()), raw=raw)
                told = await reply(engine, asked)
                assert told.first.text == "Once"
                assert told.failed is not None
                assert "it broke" in told.failed.message
        finally:
            await engine.aclose()


async def test_vectors_and_models(engine: ollama.Engine, direct: llamacpp.Engine):
    wanted = EmbedAsk(texts=("Why is the sky blue?", "Why is grass green?"), dimensions=16)
    ours, theirs = await direct.embed(wanted), await engine.embed(wanted)
    assert theirs.input_tokens == ours.input_tokens
    for mine, other in zip(ours.vectors, theirs.vectors, strict=True):
        assert other == pytest.approx(mine, abs=1e-4)
    (card,) = await engine.models()
    assert (card.name, card.size, card.format) == (MODEL, DEMO.stat().st_size, "gguf")
    known, told = await direct.describe(MODEL), await engine.describe(MODEL)
    assert told.template == known.template
    assert told.metadata == known.metadata
    assert set(told.capabilities) == set(known.capabilities)
    await engine.unload(MODEL)
    assert not await engine.loaded()
    await engine.load(MODEL)
    assert [one.card.name for one in await engine.loaded()] == [MODEL]


async def test_refusals_come_through(engine: ollama.Engine):
    with pytest.raises(UnknownModelError):
        await reply(engine, msgspec.structs.replace(ask("Hi"), model="no-such-model"))
    with pytest.raises(UnknownModelError):
        await engine.describe("no-such-model")
    with pytest.raises(InvalidRequestError, match="suffix"):
        await reply(engine, msgspec.structs.replace(ask("Hi"), raw=True, suffix="x"))
