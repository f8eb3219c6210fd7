"""Requests as OpenAI's body."""

import pytest

from penstock.core.errors import InvalidRequestError
from penstock.core.messages import ImagePart, Message, TextPart, ToolCall, say
from penstock.core.request import ReplyFormat, Request, Sampling, ToolChoice, ToolSpec
from penstock.engines._openai_wire import body
from penstock.wire import json


def test_only_what_was_said() -> None:
    assert body(Request(model="m", messages=(say("user", "Hi"),))) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_zero_is_said() -> None:
    found = body(Request(sampling=Sampling(temperature=0.0, seed=0, logprobs=False, max_tokens=1)))
    assert (found["temperature"], found["seed"], found["logprobs"]) == (0.0, 0, False)
    assert found["max_tokens"] == 1


def test_everything() -> None:
    request = Request(
        model="m",
        sampling=Sampling(stop=("a",), logit_bias={"5": 1.0}, top_logprobs=2, top_k=4),
        tools=(
            ToolSpec(
                name="f", description="d", parameters=json.raw('{"type":"object"}'), strict=True
            ),
        ),
        tool_choice=ToolChoice(name="f"),
        parallel_tool_calls=False,
        reply_format=ReplyFormat(kind="json_schema", schema=json.raw('{"x":1}'), strict=True),
        effort="low",
        choices=2,
    )
    assert json.encode(body(request)) == (
        b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true},'
        b'"top_k":4,"stop":["a"],"logit_bias":{"5":1.0},"top_logprobs":2,"n":2,'
        b'"tools":[{"type":"function","function":{"name":"f","description":"d",'
        b'"parameters":{"type":"object"},"strict":true}}],'
        b'"tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,'
        b'"response_format":{"type":"json_schema","json_schema":{"name":"reply","schema":{"x":1},'
        b'"strict":true}},"reasoning_effort":"low"}'
    )


def test_a_conversation_with_tools_pictures_and_reasoning() -> None:
    call = ToolCall(id="c", name="f", arguments="{}")
    picture = ImagePart(url="data:image/png;base64,AA==", detail="low")
    messages = (
        Message(role="user", parts=(TextPart("look"), picture), name="ann"),
        Message(role="assistant", tool_calls=(call,), reasoning="hm"),
        Message(role="tool", parts=(TextPart("42"),), tool_call_id="c"),
        Message(role="assistant"),
    )
    assert body(Request(messages=messages))["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": picture.url, "detail": "low"}},
            ],
            "name": "ann",
        },
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "hm",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "content": "42", "tool_call_id": "c"},
        {"role": "assistant", "content": ""},
    ]


def test_a_picture_without_an_address_is_named() -> None:
    message = Message(role="user", parts=(TextPart("look"), ImagePart()))
    with pytest.raises(InvalidRequestError) as caught:
        body(Request(messages=(message,)))
    assert caught.value.param == "messages[0].content[1]"
