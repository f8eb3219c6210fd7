"""The streamed chat completion as a client reads it."""

import pytest

from penstock.client._completions import Completion, Received, body
from penstock.core.events import Done, Failed, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from penstock.core.messages import Message, ToolCall, say
from penstock.core.request import Request, Sampling


def event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


def chunk(delta: str, finish: str = "null") -> bytes:
    return event(f'{{"choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}')


def events(found: list[Received]) -> list[object]:
    return [event for one in found for event in one.events]


def test_text_reasoning_tools_usage_and_the_end():
    reader = Completion()
    data = (
        b": ping\n\n"
        + chunk('{"role":"assistant","content":null}')
        + chunk('{"reasoning_content":"hm"}')
        + chunk('{"reasoning":"m"}')
        + chunk('{"content":"Hi"}')
        + chunk('{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{"}}]}')
        + chunk('{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}', '"tool_calls"')
        + event(
            '{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,'
            '"prompt_tokens_details":{"cached_tokens":2},'
            '"completion_tokens_details":{"reasoning_tokens":1}}}'
        )
        + event("[DONE]")
    )
    whole = [one for n in range(0, len(data), 7) for one in reader.feed(data[n : n + 7])]
    assert events(whole) == [
        ReasoningDelta(part=0, text="hm"),
        ReasoningDelta(part=0, text="m"),
        TextDelta(part=1, text="Hi"),
        ToolCallDelta(part=2, call="c1", name="f", arguments="{"),
        ToolCallDelta(part=2, call="c1", arguments="}"),
        Usage(input_tokens=3, output_tokens=5, reasoning_tokens=1, cached_tokens=2),
    ]
    assert reader.finished
    assert reader.end() == Done(reason="tool_calls")


@pytest.mark.parametrize(
    "bad", ["{oops", "[]", "null", '"x"', '{"choices":[{"delta":"x"}]}', '{"choices":3}']
)
def test_what_makes_no_sense_is_counted_with_its_text_and_skipped(bad: str):
    reader = Completion()
    found = reader.feed(event(bad) + chunk('{"content":"on"}', '"stop"'))
    assert reader.malformed == 1
    assert found[0].raw == bad.encode()
    assert found[0].trouble
    assert events(found) == [TextDelta(part=1, text="on")]
    assert reader.end() == Done(reason="stop")


@pytest.mark.parametrize("error", ['{"message":"too hot","code":500}', '"too hot"'])
def test_an_error_object_is_a_failure(error: str):
    reader = Completion()
    (found,) = reader.feed(event(f'{{"error":{error}}}'))
    (failed,) = found.events
    assert isinstance(failed, Failed)
    assert "too hot" in failed.message
    assert reader.failed


def test_an_end_without_finish_and_done_is_a_failure_and_either_is_enough():
    cut = Completion()
    cut.feed(chunk('{"content":"Hal"}'))
    end = cut.end()
    assert isinstance(end, Failed)
    assert "without saying that it was finished" in end.message
    done = Completion()
    done.feed(event("[DONE]"))
    assert done.end() == Done(reason="stop")
    finish = Completion()
    finish.feed(chunk("{}", '"length"'))
    assert finish.end() == Done(reason="length")


def test_a_whole_answer_is_read_too():
    reader = Completion()
    found = reader.whole(
        b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":1,"completion_tokens":1}}'
    )
    assert found.events[0] == TextDelta(part=1, text="Hi")
    assert reader.end() == Done(reason="stop")


def test_the_body_has_the_demonstrations_keys_in_its_order():
    request = Request(
        model="m", messages=(say("user", "Hi"),), sampling=Sampling(max_tokens=3, temperature=0.0)
    )
    sent = body(request, ask_usage=False)
    assert list(sent) == ["model", "messages", "stream", "max_tokens", "temperature"]
    assert sent["temperature"] == 0.0
    assert body(request, ask_usage=True)["stream_options"] == {"include_usage": True}


def test_tool_messages_are_sent():
    call = ToolCall(id="c", name="f", arguments="{}")
    request = Request(
        messages=(
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", tool_call_id="c"),
        )
    )
    assert body(request, ask_usage=False)["messages"] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "content": "", "tool_call_id": "c"},
    ]
