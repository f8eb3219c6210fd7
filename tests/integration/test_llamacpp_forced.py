"""A tool call that must be made is made, whatever the model would rather say."""

import asyncio

import msgspec
import pytest
from tests.integration.embedded import GREEDY, WEATHER, answer, ask, events, idle, running

from penstock.core import events as ev
from penstock.core.errors import GatewayError, InvalidRequestError
from penstock.core.messages import Message, TextPart
from penstock.core.request import Effort, Request, Sampling, ToolChoice, ToolSpec
from penstock.wire import json

REQUIRED = ToolChoice(mode="required")
COUNT = ToolSpec(
    name="set_count",
    parameters=json.raw(
        '{"type":"object","properties":{"n":{"$ref":"#/$defs/digit"},'
        '"unit":{"enum":["a","b"]}},"required":["n","unit"],'
        '"$defs":{"digit":{"type":"integer","minimum":0,"maximum":9}}}'
    ),
)
NOW = ToolSpec(name="now", description="The time")
EMPTY = ToolSpec(name="stop", parameters=json.raw('{"type":"object"}'))


class Count(msgspec.Struct, forbid_unknown_fields=True):
    n: int
    unit: str


def forced(text: str, *tools: ToolSpec, choice: ToolChoice = REQUIRED, most: int = 200) -> Request:
    sampling = msgspec.structs.replace(GREEDY, max_tokens=most)
    return msgspec.structs.replace(ask(text, sampling), tools=tools, tool_choice=choice)


@pytest.mark.parametrize("text", ["Hello!", "Count from 1 to 5", "What is the capital of France?"])
@pytest.mark.parametrize("effort", [None, "none"])
async def test_no_word_comes_before_the_call(text: str, effort: Effort | None):
    asked = msgspec.structs.replace(forced(text, COUNT, NOW), effort=effort)
    async with running() as engine:
        found = await answer(engine, asked)
    assert (found.text, found.reasoning, found.reason) == ("", "", "tool_calls")
    (call,) = found.tool_calls
    if call.name == "set_count":
        count = json.decode(call.arguments, Count, GatewayError)
        assert 0 <= count.n <= 9
        assert count.unit in ("a", "b")
    else:
        assert (call.name, call.arguments) == ("now", "{}")


@pytest.mark.parametrize("tool", [COUNT, NOW, EMPTY])
async def test_a_named_function_is_called(tool: ToolSpec):
    asked = forced("Hello!", WEATHER, COUNT, NOW, EMPTY, choice=ToolChoice(name=tool.name))
    async with running() as engine:
        found = await answer(engine, asked)
    (call,) = found.tool_calls
    assert call.name == tool.name
    assert found.reason == "tool_calls"
    if tool is not COUNT:
        assert call.arguments == "{}"


async def test_a_call_comes_in_pieces_with_its_usage():
    async with running() as engine:
        found = await events(engine, forced("What is the weather in Paris?", WEATHER))
    calls = [event for event in found if isinstance(event, ev.ToolCallDelta)]
    assert len(calls) > 2
    assert [call.name for call in calls] == ["get_weather", *[None] * (len(calls) - 1)]
    assert len({(call.part, call.call) for call in calls}) == 1
    (usage,) = [event for event in found if isinstance(event, ev.Usage)]
    assert usage.input_tokens > 50
    assert usage.output_tokens >= len(calls)
    assert usage.timings is not None


async def test_a_limit_cuts_the_call_and_says_so():
    async with running() as engine:
        found = await answer(engine, forced("Hello!", COUNT, most=4))
    assert found.reason == "length"


async def test_a_result_is_gone_on_with_and_a_stop_is_no_part_of_a_call():
    asked = forced("What is the weather in Paris?", WEATHER)
    asked = msgspec.structs.replace(asked, sampling=Sampling(temperature=0, stop=("city",)))
    async with running() as engine:
        first = await answer(engine, asked)
        (call,) = first.tool_calls
        said = (
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", parts=(TextPart('{"sky":"sunny"}'),), tool_call_id=call.id),
        )
        again = msgspec.structs.replace(asked, messages=(*asked.messages, *said))
        second = await answer(engine, again)
        assert second.tool_calls
        free = msgspec.structs.replace(again, tool_choice=None, sampling=GREEDY)
        assert (await answer(engine, free)).reason in ("stop", "tool_calls")


@pytest.mark.parametrize(
    "schema", ['{"type":"array"}', "[]", '{"type":"object","properties":{"a":{"$ref":"#/none"}}}']
)
async def test_a_schema_that_is_none_is_refused(schema: str):
    async with running() as engine:
        with pytest.raises(InvalidRequestError):
            await answer(engine, forced("Hello!", ToolSpec(name="a", parameters=json.raw(schema))))
        assert (await answer(engine, forced("Hello!", NOW))).tool_calls


@pytest.mark.parametrize(
    "schema",
    [
        '{"type":"object","required":["n"]}',
        '{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a","n"]}',
        '{"type":"object","anyOf":[{"properties":{"n":{"type":"boolean"}},"required":["n"]}]}',
        '{"type":"object","allOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/b"}],"$defs":{'
        '"a":{"properties":{"a":{"type":"boolean"}},"required":["a"]},'
        '"b":{"properties":{"n":{"type":"boolean"}},"required":["n"]}}}',
        '{"type":"object","$ref":"#/$defs/a","$defs":'
        '{"a":{"properties":{"n":{"type":"boolean"}},"required":["n"]}}}',
        '{"type":"object","enum":[{"n":1}]}',
    ],
)
async def test_what_an_object_needs_beside_its_properties_is_written(schema: str):
    tool = ToolSpec(name="a", parameters=json.raw(schema))
    async with running() as engine:
        found = await events(engine, forced("Hello!", tool))
    calls = [event for event in found if isinstance(event, ev.ToolCallDelta)]
    assert calls[0].name == "a"
    assert '"n": ' in "".join(call.arguments for call in calls)


async def test_a_schema_that_nothing_obeys_is_no_call():
    schema = (
        '{"type":"object","properties":{"a":{"type":"integer","minimum":5,"maximum":3}},'
        '"required":["a"]}'
    )
    tool = ToolSpec(name="a", parameters=json.raw(schema))
    async with running() as engine:
        for tools in ((tool,), (tool, WEATHER)):
            asked = forced("What is the weather in Paris?", *tools, choice=ToolChoice(name="a"))
            with pytest.raises(InvalidRequestError) as caught:
                await answer(engine, asked)
            assert caught.value.param == "tools"


async def test_closing_it_stops_the_decoding():
    word = ToolSpec(
        name="say",
        parameters=json.raw(
            '{"type":"object","properties":{"text":{"type":"string","minLength":9000}},'
            '"required":["text"]}'
        ),
    )
    async with running() as engine:
        stream = engine.stream(forced("Tell me a story", word, most=100_000))
        async with asyncio.timeout(20):
            async for batch in stream:
                if batch:
                    break
            await stream.aclose()  # type: ignore[attr-defined]
            await idle(engine)
