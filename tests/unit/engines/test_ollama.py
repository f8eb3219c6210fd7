"""The `ollama` engine: what it sends, what it makes of odd answers."""

import pytest

from penstock.core.errors import (
    BindingDownError,
    EngineError,
    EngineProtocolError,
    GatewayError,
    InvalidRequestError,
    UnknownModelError,
    UnsupportedParameterError,
)
from penstock.core.events import Done, Event, Failed, ReasoningDelta, TextDelta, ToolCallDelta
from penstock.core.messages import ImagePart, Message, TextPart, ToolCall, say
from penstock.core.ports import Timeouts
from penstock.core.request import ReplyFormat, Request, Sampling, ToolChoice, ToolSpec
from penstock.core.secrets import Secret
from penstock.engines._ollama_body import body
from penstock.engines._ollama_wire import Lines
from penstock.engines.ollama import Config, Engine
from penstock.testing.engines import play, said
from penstock.testing.upstreams import Connection, Script, scripted
from penstock.testing.vectors import REQUEST
from penstock.wire import json

pytestmark = pytest.mark.usefixtures("carrier")

QUICK = Timeouts(connect=1, first_token=2, between_tokens=2)
DONE = b'{"done":true,"done_reason":"stop"}\n'

TAGS = b"""{"models":[{"name":"codellama:13b","modified_at":"2023-11-04T14:56:49.277302595-07:00",
"size":7365960935,"details":{"format":"gguf","family":"llama","families":null,
"parameter_size":"13B","quantization_level":"Q4_0"}}]}"""
"""From Ollama's docs/api.md, "List Local Models"."""


def made(*lines: bytes) -> list[Event]:
    reader = Lines()
    return [event for line in lines for event in reader.feed(line)] + reader.end()


def answering(status: str, answer: bytes) -> Script:
    async def script(connection: Connection) -> None:
        await connection.answer(status, ["Content-Type: application/json"], answer)

    return script


async def refused(script: Script) -> GatewayError:
    async with scripted(script) as upstream:
        engine = Engine(Config(url=upstream.url, key=Secret("sk-secret")), QUICK)
        with pytest.raises(GatewayError) as caught:
            await play(engine, REQUEST)
        await engine.aclose()
        return caught.value


def test_tags_in_the_text_of_models_that_ollama_does_not_know() -> None:
    events = made(
        b'{"message":{"content":"<thi"}}', b'{"message":{"content":"nk>hm</think>\\n\\na"}}', DONE
    )
    assert events == [
        ReasoningDelta(part=0, text="hm"),
        TextDelta(part=1, text="a"),
        Done(reason="stop"),
    ]


def test_calls_are_numbered_over_all_lines() -> None:
    line = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"x": 1}}}]}}'
    own = b'{"message":{"tool_calls":[{"id":"i","function":{"name":"g","arguments":null}}]}}'
    assert made(line, own, DONE) == [
        ToolCallDelta(part=2, call="call_0", name="f", arguments='{"x": 1}'),
        ToolCallDelta(part=3, call="i", name="g", arguments="{}"),
        Done(reason="tool_calls"),
    ]


def test_length() -> None:
    assert made(b'{"done":true,"done_reason":"length"}') == [Done(reason="length")]


@pytest.mark.parametrize("line", [b"nonsense", b"[]", b'{"message":5}'])
def test_nonsense(line: bytes) -> None:
    (end,) = made(line, DONE)
    assert isinstance(end, Failed)
    assert end.code == "engine_protocol"
    assert "nonsense" not in end.message


def test_a_stream_without_an_end() -> None:
    _, end = made(b'{"message":{"content":"a"}}')
    assert isinstance(end, Failed)


def test_only_what_was_said() -> None:
    assert body(Request(model="m", messages=(say("user", "Hi"),))) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
    }


def test_everything() -> None:
    call = ToolCall(id="c", name="f", arguments='{"x":1}')
    request = Request(
        model="m",
        messages=(
            Message(
                role="user", parts=(TextPart("look"), ImagePart(url="data:image/png;base64,AA=="))
            ),
            Message(role="assistant", tool_calls=(call,), reasoning="hm"),
            Message(role="tool", parts=(TextPart("42"),), tool_call_id="c"),
        ),
        sampling=Sampling(temperature=0.0, max_tokens=5, stop=("a",), repeat_last_n=3),
        tools=(ToolSpec(name="f"),),
        tool_choice=ToolChoice(mode="auto"),
        reply_format=ReplyFormat(kind="json_schema", schema=json.raw('{"type":"object"}')),
        effort="minimal",
    )
    assert json.decode(json.encode(body(request, 2048)), dict[str, object], EngineError) == {
        "model": "m",
        "messages": [
            {"role": "user", "content": "look", "images": ["AA=="]},
            {
                "role": "assistant",
                "content": "",
                "thinking": "hm",
                "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}],
            },
            {"role": "tool", "content": "42", "tool_name": "f"},
        ],
        "stream": True,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "description": "",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ],
        "format": {"type": "object"},
        "think": "low",
        "options": {
            "temperature": 0.0,
            "num_predict": 5,
            "repeat_last_n": 3,
            "stop": ["a"],
            "num_ctx": 2048,
        },
    }


def test_no_thinking_no_tools_and_any_json() -> None:
    found = body(
        Request(
            effort="none",
            tools=(ToolSpec(name="f"),),
            tool_choice=ToolChoice(mode="none"),
            reply_format=ReplyFormat(kind="json_object"),
        )
    )
    assert (found["think"], found["format"], "tools" in found) == (False, "json", False)


@pytest.mark.parametrize("choice", [ToolChoice(mode="required"), ToolChoice(name="f")])
def test_a_forced_call_is_refused(choice: ToolChoice) -> None:
    with pytest.raises(UnsupportedParameterError) as caught:
        body(Request(tool_choice=choice))
    assert caught.value.param == "tool_choice"


def test_a_picture_elsewhere_is_refused() -> None:
    message = Message(role="user", parts=(ImagePart(url="https://example.org/a.png"),))
    with pytest.raises(UnsupportedParameterError) as caught:
        body(Request(messages=(message,)))
    assert caught.value.param == "messages[0].content[0]"


@pytest.mark.parametrize("arguments", ["[1]", "{"])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    call = ToolCall(id="c", name="f", arguments=arguments)
    with pytest.raises(InvalidRequestError):
        body(Request(messages=(Message(role="assistant", tool_calls=(call,)),)))


async def test_what_is_sent() -> None:
    async with scripted(answering("200 OK", DONE)) as upstream:
        config = Config(
            url=upstream.url + "/api/",
            key=Secret("sk-1"),
            model="own",
            context_size=99,
            keep_alive="10m",
        )
        engine = Engine(config, QUICK)
        assert said(await play(engine, Request(messages=REQUEST.messages))) == [Done(reason="stop")]
        await engine.aclose()
        (connection,) = upstream.connections
    assert connection.head.startswith(b"POST /api/chat HTTP/1.1\r\n")
    assert b"Authorization: Bearer sk-1\r\n" in connection.head
    found = json.decode(connection.body, dict[str, object], EngineError)
    assert (found["model"], found["options"], found["keep_alive"]) == (
        "own",
        {"num_ctx": 99},
        "10m",
    )


async def test_models() -> None:
    async with scripted(answering("200 OK", TAGS)) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        (card,) = await engine.models()
        await engine.aclose()
    assert (card.name, card.size, card.modified) == ("codellama:13b", 7365960935, 1699135009)
    assert (card.format, card.family, card.parameter_size, card.quantization) == (
        "gguf",
        "llama",
        "13B",
        "Q4_0",
    )


async def test_an_unknown_model() -> None:
    answer = b'{"error":"model \'m\' not found"}'
    assert isinstance(await refused(answering("404 Not Found", answer)), UnknownModelError)


async def test_an_error_that_shows_our_key() -> None:
    answer = b'{"error":"who is sk-secret?"}'
    assert "sk-secret" not in (await refused(answering("401 Unauthorized", answer))).message


async def test_a_web_page() -> None:
    async def script(connection: Connection) -> None:
        await connection.answer(headers=["Content-Type: text/html"], body=b"<html>")

    assert isinstance(await refused(script), EngineProtocolError)


async def test_a_server_that_is_not_ollama() -> None:
    async with scripted(answering("404 Not Found", b"no")) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        with pytest.raises(BindingDownError, match="`url`"):
            await engine.start()
        await engine.aclose()
