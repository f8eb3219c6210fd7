"""Our own `openai` engine on our own dialects of OpenAI's API: the same as asking directly."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.integration import both_ways
from tests.integration.both_ways import WEATHER_ASKED
from tests.integration.embedded import WEATHER, ask, events, reply, running
from tests.integration.serving import Serving, serve
from tests.integration.test_same_everywhere import CALL, EVENTS

from penstock.core import events as ev
from penstock.core.errors import InvalidRequestError, UnknownModelError
from penstock.core.folding import ChoiceReply, Reply
from penstock.core.messages import ImagePart, Message
from penstock.core.ports import Timeouts
from penstock.core.queries import EmbedAsk
from penstock.core.request import Request, Sampling, ToolChoice, ToolSpec
from penstock.core.secrets import Secret
from penstock.engines import llamacpp, openai

MODEL = "penstock-demo"
KEY = "sk-test"
OPTIONS = both_ways.ASKED["options"]
EXTRA: tuple[openai.Extra, ...] = ("top_k", "min_p", "repeat_penalty", "repeat_last_n")
ASKED = {
    **both_ways.ASKED,
    "options": msgspec.structs.replace(
        OPTIONS, sampling=msgspec.structs.replace(OPTIONS.sampling, logit_bias={"5": -1.5})
    ),
    "one call": msgspec.structs.replace(WEATHER_ASKED, parallel_tool_calls=False),
    "any tool": msgspec.structs.replace(WEATHER_ASKED, tool_choice=ToolChoice(mode="required")),
    "this tool": msgspec.structs.replace(
        WEATHER_ASKED,
        tools=(WEATHER, ToolSpec(name="now")),
        tool_choice=ToolChoice(mode="required", name="now"),
    ),
    "no tool": msgspec.structs.replace(WEATHER_ASKED, tool_choice=ToolChoice(mode="none")),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    config = f'[security]\nallowed_api_keys = ["{KEY}"]\n[bindings.local]\nengine = "llamacpp"\n'
    with serve(tmp_path_factory.mktemp("server"), config) as serving:
        yield serving


@pytest.fixture
async def engine(server: Serving) -> AsyncIterator[openai.Engine]:
    config = openai.Config(
        url=server.url, key=Secret(KEY), model=MODEL, extra_parameters=EXTRA, think_tags=False
    )
    found = openai.Engine(config, Timeouts())
    await found.start()
    try:
        yield found
    finally:
        await found.aclose()


@pytest.fixture
async def direct() -> AsyncIterator[llamacpp.Engine]:
    async with running() as found:
        yield found


def said(choice: ChoiceReply) -> tuple[str, str, list[object], object]:
    """All that was said; calls by what they ask for."""
    calls: list[object] = [(call.name, json.loads(call.arguments)) for call in choice.tool_calls]
    return choice.text, choice.reasoning, calls, choice.reason


def counts(told: Reply) -> tuple[int, int]:
    assert told.usage is not None
    return told.usage.input_tokens, told.usage.output_tokens


@pytest.mark.parametrize("name", ASKED)
async def test_the_same_reply(name: str, engine: openai.Engine, direct: llamacpp.Engine):
    expected, found = await reply(direct, ASKED[name]), await reply(engine, ASKED[name])
    assert said(found.first) == said(expected.first)
    assert any(said(found.first)[:3])
    assert counts(found) == counts(expected)


@pytest.mark.parametrize("raw", [False, True])
async def test_log_probabilities_come_through(
    raw: bool, engine: openai.Engine, direct: llamacpp.Engine
):
    sampling = Sampling(temperature=0, max_tokens=4, logprobs=True, top_logprobs=2)
    asked = msgspec.structs.replace(ask("Once upon", sampling), raw=raw)

    async def tokens(of: openai.Engine | llamacpp.Engine) -> list[tuple[str, float, int]]:
        return [
            (token["token"], token["logprob"], len(token["top_logprobs"]))
            for array in (await reply(of, asked)).first.logprobs
            for token in json.loads(bytes(array))
        ]

    ours, theirs = await tokens(direct), await tokens(engine)
    assert len(ours) == 4
    assert [token for token, _, _ in theirs] == [token for token, _, _ in ours]
    assert [odd for _, odd, _ in theirs] == pytest.approx([odd for _, odd, _ in ours], abs=1e-3)
    assert all(top >= 2 for _, _, top in theirs)


@pytest.mark.parametrize("raw", [False, True])
async def test_two_answers_come_through(raw: bool, engine: openai.Engine):
    sampling = Sampling(temperature=1.5, seed=3, max_tokens=8)
    asked = msgspec.structs.replace(ask("Tell me a story", sampling), raw=raw, choices=2)
    found = await reply(engine, asked)
    assert [choice.reason for choice in found.choices] == ["length", "length"]
    assert all(choice.text for choice in found.choices)
    assert counts(found)[1] == 16


async def test_everything_that_can_be_said_comes_through_in_the_same_pieces(tmp_path: Path):
    tape = tmp_path / "tape.jsonl"
    tape.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in EVENTS))
    with serve(tmp_path, f'[bindings.tape]\nengine = "replay"\npath = "{tape}"\n') as serving:
        engine = openai.Engine(openai.Config(url=serving.url, model="default"), Timeouts())
        try:
            found = await events(engine, ask("Weather?", Sampling()))
        finally:
            await engine.aclose()
    assert found == EVENTS
    calls = [event for event in found if isinstance(event, ev.ToolCallDelta)]
    assert "".join(call.arguments for call in calls if call.call == "call_1") == CALL


@pytest.mark.parametrize("raw", [False, True])
async def test_a_failure_comes_through(tmp_path: Path, raw: bool):
    tape = tmp_path / "tape.jsonl"
    tape.write_text(
        '{"type":"text","part":1,"text":"Once"}\n'
        '{"type":"failed","code":"engine_failed","message":"it broke"}\n'
    )
    with serve(tmp_path, f'[bindings.tape]\nengine = "replay"\npath = "{tape}"\n') as serving:
        engine = openai.Engine(openai.Config(url=serving.url, model="default"), Timeouts())
        try:
            told = await reply(engine, msgspec.structs.replace(ask("Hi", Sampling()), raw=raw))
        finally:
            await engine.aclose()
    assert told.first.text == "Once"
    assert told.failed is not None
    assert "it broke" in told.failed.message


async def test_vectors_and_models(engine: openai.Engine, direct: llamacpp.Engine):
    wanted = EmbedAsk(texts=("Why is the sky blue?", "Why is grass green?"), dimensions=16)
    ours, theirs = await direct.embed(wanted), await engine.embed(wanted)
    assert theirs.input_tokens == ours.input_tokens
    for mine, other in zip(ours.vectors, theirs.vectors, strict=True):
        assert other == pytest.approx(mine, abs=1e-4)
    (card,), (own,) = await engine.models(), await direct.models()
    assert (card.name, card.context_size, card.inputs) == (MODEL, own.context_size, own.inputs)


async def test_refusals_come_through_with_their_field(engine: openai.Engine):
    with pytest.raises(UnknownModelError):
        await reply(engine, msgspec.structs.replace(ask("Hi"), model="no-such-model"))
    picture = Message(role="user", parts=(ImagePart(url="data:image/png;base64,AAAA"),))
    with pytest.raises(InvalidRequestError, match="local") as caught:
        await reply(engine, Request(messages=(picture,)))
    assert caught.value.param == "messages"
    with pytest.raises(InvalidRequestError, match="suffix") as caught:
        await reply(engine, msgspec.structs.replace(ASKED["raw"], suffix="x"))
    assert caught.value.param == "suffix"
