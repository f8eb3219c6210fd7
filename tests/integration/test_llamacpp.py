"""The embedded engine on the demo model that ships: what it says and what it refuses."""

import asyncio
import re
from contextlib import aclosing

import msgspec
import pytest
from tests.integration.embedded import (
    GREEDY,
    LONG,
    SHORT,
    WEATHER,
    answer,
    ask,
    batches,
    events,
    idle,
    opened,
    reply,
    running,
)

from penstock.core import events as ev
from penstock.core import ports
from penstock.core.errors import (
    EngineTimeoutError,
    GatewayError,
    InvalidRequestError,
    UnavailableError,
    UnknownModelError,
    UnsupportedParameterError,
)
from penstock.core.messages import ImagePart, Message, TextPart, ToolCall, say
from penstock.core.ports import Timeouts
from penstock.core.request import (
    Effort,
    ReplyFormat,
    Request,
    Sampling,
    ToolChoice,
    ToolSpec,
)
from penstock.engines.llamacpp import Config, Engine
from penstock.gateway.admission import fit
from penstock.wire import json


def test_it_is_an_engine() -> None:
    engine: ports.Engine = Engine(Config(), Timeouts())
    assert engine.outputs == ("text",)


async def test_text_comes_token_by_token() -> None:
    async with running() as engine:
        found = await batches(engine, ask("What is the GIL?"))
    assert all(found[1:])
    deltas = [event for batch in found for event in batch if isinstance(event, ev.TextDelta)]
    assert len(deltas) > 30
    assert "".join(delta.text for delta in deltas).startswith("The GIL, or global interpreter")
    assert {(delta.part, delta.choice) for delta in deltas} == {(deltas[0].part, 0)}
    usage, done = found[-1][-2:]
    assert done == ev.Done(reason="stop")
    assert isinstance(usage, ev.Usage)
    assert 5 < usage.input_tokens < 40
    assert abs(usage.output_tokens - len(deltas)) < 5
    assert usage.timings is not None
    assert usage.timings.prompt > 1000
    assert usage.timings.generation > 1000


async def test_it_is_accepted_before_the_first_token() -> None:
    """An empty batch comes as the prompt is taken, unless both are there by the time we look."""
    async with running() as engine:
        for attempt in range(10):
            question = ask(f"{attempt}: " + "tell me about the weather " * 40)
            async with aclosing(opened(engine, question)) as stream:
                if await anext(stream) == []:
                    return
    pytest.fail("ten times a first token and nothing before it")


async def test_temperature_zero_and_a_seed_say_the_same_twice() -> None:
    async with running() as engine:
        first, second = [await answer(engine, ask("Tell me a story")) for _ in range(2)]
        assert first.text == second.text
        warm = Sampling(temperature=1.2, seed=11, max_tokens=40)
        other = msgspec.structs.replace(warm, seed=12)
        texts = [
            (await answer(engine, ask("Tell me a story", how))).text for how in (warm, warm, other)
        ]
    assert texts[0] == texts[1] != texts[2]


async def test_max_tokens_ends_with_length() -> None:
    async with running() as engine:
        found = await reply(engine, ask("Tell me a story", Sampling(max_tokens=5, seed=1)))
    assert found.first.reason == "length"
    assert found.usage is not None
    assert found.usage.output_tokens == 5


async def test_stop_strings() -> None:
    async with running() as engine:
        plain = await answer(engine, ask("Who are you?", Sampling(temperature=0)))
        found = await answer(engine, ask("Who are you?", Sampling(temperature=0, stop=("model",))))
    assert found.text == plain.text.partition("model")[0] != plain.text
    assert found.reason == "stop"


async def test_a_full_context_ends_with_length() -> None:
    async with running() as engine:
        found = await reply(engine, LONG)
    assert found.first.reason == "length"
    assert found.usage is not None
    assert found.usage.input_tokens + found.usage.output_tokens == 1024


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_k", 1),
        ("top_p", 0.01),
        ("min_p", 0.99),
    ],
)
async def test_sampling_is_honoured(name: str, value: object) -> None:
    """What leaves only the likeliest token gives the text of temperature 0."""
    wild = Sampling(temperature=1.5, seed=5, max_tokens=30)
    async with running() as engine:
        greedy = msgspec.structs.replace(GREEDY, max_tokens=30)
        likeliest = (await answer(engine, ask("hi there", greedy))).text
        free = (await answer(engine, ask("hi there", wild))).text
        bound = msgspec.structs.replace(wild, **{name: value})
        assert (await answer(engine, ask("hi there", bound))).text == likeliest != free


async def test_a_bias_keeps_a_token_away() -> None:
    async with running() as engine:
        token = await likeliest_token(engine)
        bias = Sampling(temperature=0, max_tokens=1, logit_bias={str(token): -100.0})
        plain = Sampling(temperature=0, max_tokens=1)
        texts = [(await answer(engine, ask("hi there", how))).text for how in (plain, bias)]
    assert texts[0] != texts[1]


async def likeliest_token(engine: Engine) -> int:
    how = Sampling(temperature=0, max_tokens=1, logprobs=True, top_logprobs=3)
    found = (await answer(engine, ask("hi there", how))).logprobs
    tokens = json.decode(bytes(found[0]), list[dict[str, object]], InvalidRequestError)
    assert isinstance(tokens[0]["top_logprobs"], list)
    assert len(tokens[0]["top_logprobs"]) == 3
    return int(str(tokens[0]["id"]))


@pytest.mark.parametrize(
    "penalty",
    [
        Sampling(repeat_penalty=1.8, repeat_last_n=64),
        Sampling(presence_penalty=2.0),
        Sampling(frequency_penalty=2.0),
    ],
)
async def test_penalties_are_honoured(penalty: Sampling) -> None:
    question = "Tell me a story about a lighthouse."
    async with running() as engine:
        plain = await answer(engine, ask(question, Sampling(temperature=0, max_tokens=80)))
        how = msgspec.structs.replace(penalty, temperature=0.0, max_tokens=80)
        assert (await answer(engine, ask(question, how))).text != plain.text
        short = msgspec.structs.replace(how, repeat_last_n=0)
        assert (await answer(engine, ask(question, short))).text == plain.text


async def test_logprobs_come_with_their_text() -> None:
    async with running() as engine:
        found = await events(engine, ask("Hello!", Sampling(max_tokens=3, logprobs=True)))
    deltas = [event for event in found if isinstance(event, ev.TextDelta)]
    assert deltas
    for delta in deltas:
        assert isinstance(delta.logprobs, msgspec.Raw)
        told = json.decode(bytes(delta.logprobs), list[dict[str, object]], InvalidRequestError)
        assert "".join(str(token["token"]) for token in told) == delta.text


@pytest.mark.parametrize(
    ("effort", "thinks"),
    [(None, False), ("none", False), ("low", True), ("medium", True), ("high", True)],
)
async def test_effort(effort: Effort | None, thinks: bool) -> None:
    question = msgspec.structs.replace(ask("What is the capital of France?"), effort=effort)
    async with running() as engine:
        found = await answer(engine, question)
    assert bool(found.reasoning) is thinks
    assert found.text.strip() == "The capital of France is Paris."


async def test_effort_none_overrules_the_prompt() -> None:
    question = ask("What is the capital of France? /think")
    async with running() as engine:
        assert (await answer(engine, question)).reasoning
        assert not (
            await answer(engine, msgspec.structs.replace(question, effort="none"))
        ).reasoning


async def test_a_tool_is_called_and_its_result_is_used() -> None:
    question = say("user", "What is the weather in Paris?")
    async with running() as engine:
        found = await events(
            engine, Request(messages=(question,), tools=(WEATHER,), sampling=GREEDY)
        )
        pieces = [event for event in found if isinstance(event, ev.ToolCallDelta)]
        assert len(pieces) > 3  # streamed, not in one piece
        assert pieces[0].name == "get_weather"
        assert pieces[0].call
        assert json.decode("".join(p.arguments for p in pieces), object, GatewayError) == {
            "city": "Paris"
        }
        assert found[-1] == ev.Done(reason="tool_calls")

        call = ToolCall(id=pieces[0].call, name="get_weather", arguments='{"city": "Paris"}')
        result = Message(
            role="tool", parts=(TextPart("18 degrees and cloudy"),), tool_call_id=call.id
        )
        turn = (question, Message(role="assistant", tool_calls=(call,)), result)
        told = await reply(engine, Request(messages=turn, tools=(WEATHER,), sampling=GREEDY))
    assert told.first.reason == "stop"
    assert told.first.text
    assert not told.first.tool_calls


async def test_the_choice_of_a_tool_is_obeyed() -> None:
    search = ToolSpec(name="web_search", description="Search", parameters=WEATHER.parameters)
    question = Request(
        messages=(say("user", "What is the weather in Paris?"),),
        tools=(WEATHER, search),
        sampling=GREEDY,
    )
    async with running() as engine:
        picked = msgspec.structs.replace(question, tool_choice=ToolChoice(name="web_search"))
        assert [call.name for call in (await answer(engine, picked)).tool_calls] == ["web_search"]
        none = msgspec.structs.replace(question, tool_choice=ToolChoice(mode="none"))
        found = await answer(engine, none)
        assert not found.tool_calls
        assert "<tool_call>" not in found.text
        single = msgspec.structs.replace(question, parallel_tool_calls=False)
        assert len((await answer(engine, single)).tool_calls) == 1


async def test_a_schema_is_obeyed() -> None:
    class Person(msgspec.Struct):
        name: str
        age: int
        code: str

    schema = json.raw(
        '{"type":"object","properties":{"name":{"type":"string","maxLength":9},"age":{"type":'
        r'"integer","minimum":1,"maximum":99},"code":{"type":"string","pattern":"^\\d{4}$"}},'
        '"required":["name","age","code"],"additionalProperties":false}'
    )
    wanted = ReplyFormat(kind="json_schema", name="person", schema=schema)
    question = msgspec.structs.replace(ask("Who are you?"), reply_format=wanted)
    async with running() as engine:
        found = await answer(engine, question)
    person = json.decode(found.text, Person, GatewayError)
    assert 1 <= person.age <= 99
    assert re.fullmatch("[0-9]{4}", person.code)


async def test_any_json_object() -> None:
    question = ask("Give me a JSON object with a name.", Sampling(temperature=0, max_tokens=200))
    wanted = msgspec.structs.replace(question, reply_format=ReplyFormat(kind="json_object"))
    async with running() as engine:
        found = await answer(engine, wanted)
    assert found.text.lstrip().startswith("{")
    if found.reason == "stop":
        json.decode(found.text, dict[str, object], GatewayError)


async def test_a_second_turn_is_read_from_the_cache() -> None:
    async with running(Config(parallel=1)) as engine:
        await answer(engine, ask("What is the GIL?"))
        usage = (await reply(engine, ask("What is the GIL?"))).usage
    assert usage is not None
    assert usage.cached_tokens is not None
    assert usage.cached_tokens > 5


# ── what it refuses ──────────────────────────────────────────────────────────────────────────────


async def refused(engine: Engine, request: Request) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await events(engine, request)
    assert (await answer(engine, SHORT)).reason == "length"  # and goes on
    return caught.value


async def test_a_prompt_that_is_too_long() -> None:
    async with running() as engine:
        error = await refused(engine, ask("Hello! " * 3000))
    assert isinstance(error, InvalidRequestError)
    assert error.param == "messages"
    assert "1024" in error.message


async def test_a_broken_schema() -> None:
    broken = json.raw('{"type":"bogus"}')
    async with running() as engine:
        wanted = ReplyFormat(kind="json_schema", schema=broken)
        error = await refused(engine, msgspec.structs.replace(ask("Hello!"), reply_format=wanted))
        assert isinstance(error, InvalidRequestError)
        assert error.param == "response_format"
        assert "bogus" in error.message
        tool = msgspec.structs.replace(WEATHER, parameters=broken)
        error = await refused(engine, msgspec.structs.replace(ask("Hello!"), tools=(tool,)))
        assert isinstance(error, InvalidRequestError)
        assert error.param == "tools"


async def test_an_unknown_model() -> None:
    async with running() as engine:
        error = await refused(engine, msgspec.structs.replace(SHORT, model="gpt-9"))
        assert isinstance(error, UnknownModelError)
        for name in ("penstock-demo", "penstock-demo.gguf", "Penstock demo", ""):
            assert (await answer(engine, msgspec.structs.replace(SHORT, model=name))).text


async def test_silence_is_told() -> None:
    async with running(timeouts=Timeouts(first_token=1e-9)) as engine:
        with pytest.raises(EngineTimeoutError):
            await events(engine, LONG)
        await idle(engine)


async def test_it_starts_by_itself_and_never_again_after_its_end() -> None:
    engine = Engine(Config(), Timeouts())
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(answer(engine, SHORT)) for _ in range(3)]
    assert {run.result().reason for run in runs} == {"length"}
    await engine.aclose()
    for attempt in (events(engine, SHORT), engine.models()):
        with pytest.raises(UnavailableError):
            await attempt


def test_pictures_are_refused_by_name() -> None:
    picture = Message(role="user", parts=(ImagePart(url="data:image/png;base64,AAAA"),))
    with pytest.raises(UnsupportedParameterError) as caught:
        fit(Request(messages=(picture,)), Engine(Config(), Timeouts()), "local")
    assert caught.value.param == "messages"
    assert "'local'" in caught.value.message
