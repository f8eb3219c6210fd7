import msgspec
import pytest

from penstock.core.errors import InvalidRequestError, UnsupportedParameterError
from penstock.core.messages import Message, ToolCall, say
from penstock.core.request import (
    Effort,
    ReplyFormat,
    Request,
    Sampling,
    ToolChoice,
    ToolMode,
    ToolSpec,
)
from penstock.engines import _llama_body
from penstock.wire import json

HELLO = (say("user", "Hello!"),)


def sent(request: Request) -> dict[str, object]:
    return json.decode(_llama_body.chat(request), dict[str, object], InvalidRequestError)


def schema(pattern: object, **more: object) -> msgspec.Raw:
    return json.raw(json.encode({"type": "string", "pattern": pattern, **more}))


def patterned(pattern: str) -> Request:
    wanted = ReplyFormat(kind="json_schema", schema=schema(pattern))
    return Request(messages=HELLO, reply_format=wanted)


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high"])
def test_effort(effort: Effort) -> None:
    found = sent(Request(messages=HELLO, effort=effort))
    assert found["reasoning_effort"] == effort
    assert "chat_template_kwargs" not in found


def test_no_effort_turns_thinking_off() -> None:
    found = sent(Request(messages=HELLO, effort="none"))
    assert found["chat_template_kwargs"] == {"enable_thinking": False}
    assert "reasoning_effort" not in found


def test_a_named_tool_is_the_only_one() -> None:
    tools = (ToolSpec(name="a"), ToolSpec(name="b"))
    found = sent(Request(messages=HELLO, tools=tools, tool_choice=ToolChoice(name="b")))
    assert found["tools"] == [{"type": "function", "function": {"name": "b"}}]
    assert found["tool_choice"] == "required"
    with pytest.raises(InvalidRequestError) as caught:
        sent(Request(messages=HELLO, tools=tools, tool_choice=ToolChoice(name="c")))
    assert caught.value.param == "tool_choice"


@pytest.mark.parametrize(("mode", "there"), [("none", False), ("auto", True), ("required", True)])
def test_tool_modes(mode: ToolMode, there: bool) -> None:
    request = Request(
        messages=HELLO, tools=(ToolSpec(name="a"),), tool_choice=ToolChoice(mode=mode)
    )
    assert ("tools" in sent(request)) is there


def test_tools_and_a_format_at_once_are_refused() -> None:
    request = Request(
        messages=HELLO, tools=(ToolSpec(name="a"),), reply_format=ReplyFormat(kind="json_object")
    )
    with pytest.raises(UnsupportedParameterError) as caught:
        sent(request)
    assert caught.value.param == "response_format"
    sent(msgspec.structs.replace(request, tool_choice=ToolChoice(mode="none")))


ENDLESS = [
    '{"type":"string","minLength":5,"maxLength":3}',
    '{"minLength":5,"max\\u004cength":3.5}',
    '{"type":"array","items":{"type":"integer"},"minItems":5,"maxItems":3}',
    '{"type":"string","pattern":"^a{5,3}$"}',
    '{"type":"string","patt\\u0065rn":"^(ab){5, 03}$"}',
    '{"properties":{"default":{"minLength":5,"maxLength":3}}}',
    '{"anyOf":[{"type":"null"},{"$ref":"#/default"}],"default":{"minLength":5,"maxLength":3}}',
    '{"pattern":"^a{%s,1}$"}' % ("9" * 5000),
]


@pytest.mark.parametrize("endless", ENDLESS)
def test_lengths_that_llama_cpp_would_count_for_ever_are_refused(endless: str) -> None:
    """Each of these took all memory of the machine."""
    inner = json.raw(f'{{"type":"object","properties":{{"a":{endless}}}}}')
    wanted = ReplyFormat(kind="json_schema", schema=inner)
    for request, param in (
        (Request(messages=HELLO, reply_format=wanted), "response_format.json_schema.schema."),
        (Request(messages=HELLO, tools=(ToolSpec(name="f", parameters=inner),)), "tools[0]."),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            sent(request)
        assert (caught.value.param or "").startswith(param)
    with pytest.raises(InvalidRequestError):
        _llama_body.raw(Request(messages=HELLO, raw=True, reply_format=wanted), None)


def test_lengths_that_can_be_are_not() -> None:
    schema = json.raw(
        '{"type":"object","properties":{"minLength":{"type":"integer"},"maxLength":{"type":"null"},'
        '"a":{"minLength":3,"maxLength":3,"pattern":"^a{3,5}b{0,10}$"}}}'
    )
    assert sent(Request(messages=HELLO, tools=(ToolSpec(name="f", parameters=schema),)))["tools"]


def test_tools_and_log_probabilities_at_once_are_refused() -> None:
    request = Request(messages=HELLO, tools=(ToolSpec(name="a"),), sampling=Sampling(logprobs=True))
    with pytest.raises(UnsupportedParameterError) as caught:
        sent(request)
    assert caught.value.param == "logprobs"
    sent(msgspec.structs.replace(request, tool_choice=ToolChoice(mode="none")))


@pytest.mark.parametrize("nothing", ["", " \n"])
def test_a_call_without_a_word_of_arguments_has_none(nothing: str) -> None:
    calls = (
        ToolCall(id="1", name="a", arguments=nothing),
        ToolCall(id="2", name="b", arguments='{"x": 1}'),
    )
    found = _llama_body.chat(
        Request(messages=(*HELLO, Message(role="assistant", tool_calls=calls)))
    )
    assert b'"arguments":"{}"' in found
    assert b'"arguments":"{\\"x\\": 1}"' in found


def test_broken_arguments_of_an_earlier_call_are_named() -> None:
    broken = Message(role="assistant", tool_calls=(ToolCall(id="1", name="a", arguments="{x"),))
    with pytest.raises(InvalidRequestError) as caught:
        sent(Request(messages=(*HELLO, broken)))
    assert caught.value.param == "messages[1].tool_calls[0].function.arguments"


def test_logprobs_without_a_count_ask_for_one() -> None:
    assert sent(Request(messages=HELLO, sampling=Sampling(logprobs=True)))["top_logprobs"] == 1
    asked = Sampling(logprobs=True, top_logprobs=3)
    assert sent(Request(messages=HELLO, sampling=asked))["top_logprobs"] == 3


@pytest.mark.parametrize(
    ("pattern", "plain"),
    [
        (r"^\d+$", "^[0-9]+$"),
        (r"^[\w.-]+@[\w-]+\.com$", r"^[A-Za-z0-9_.-]+@[A-Za-z0-9_-]+\.com$"),
        (r"^(?:ab|c){2,3}$", r"^(?:ab|c){2,3}$"),
        ("^[^a-z]*?$", "^[^a-z]*?$"),
        (r"^\\d$", r"^\\d$"),
        ("^é.$", "^é.$"),
    ],
)
def test_patterns_that_can_be_obeyed(pattern: str, plain: str) -> None:
    found = sent(patterned(pattern))["response_format"]
    assert isinstance(found, dict)
    assert found["json_schema"]["schema"] == {"type": "string", "pattern": plain}


@pytest.mark.parametrize(
    "pattern",
    ["abc", "^a", "^(?=a)b$", "^(?!a)b$", "^(?P<x>a)$", r"^\s$", r"^\bx$", "^a^b$", "^a$b$", "^{$"],
)
def test_patterns_that_can_not_are_refused(pattern: str) -> None:
    with pytest.raises(UnsupportedParameterError) as caught:
        sent(patterned(pattern))
    assert caught.value.param == "response_format.json_schema.schema.pattern"


def test_a_tool_is_not_refused_for_its_pattern_unless_it_is_strict() -> None:
    tool = ToolSpec(name="a", parameters=schema("abc", title="é"))
    found = sent(Request(messages=HELLO, tools=(tool,)))["tools"]
    assert isinstance(found, list)
    assert found[0]["function"]["parameters"] == {"type": "string", "title": "é"}
    strict = msgspec.structs.replace(tool, strict=True)
    with pytest.raises(UnsupportedParameterError) as caught:
        sent(Request(messages=HELLO, tools=(strict,)))
    assert caught.value.param == "tools[0].function.parameters.pattern"


def test_a_property_named_pattern_is_none() -> None:
    wanted = {
        "properties": {"pattern": {"type": "string"}},
        "const": {"pattern": "abc"},
        "x": '"pattern"',
    }
    request = ReplyFormat(kind="json_schema", schema=json.raw(json.encode(wanted)))
    found = sent(Request(messages=HELLO, reply_format=request))["response_format"]
    assert isinstance(found, dict)
    assert found["json_schema"]["schema"] == wanted


def test_a_schema_without_end_is_refused() -> None:
    deep = '{"items":' * 5000 + '{"pattern":"^a$"}' + "}" * 5000
    wanted = ReplyFormat(kind="json_schema", schema=json.raw(deep))
    with pytest.raises(InvalidRequestError, match="nested too deeply"):
        sent(Request(messages=HELLO, reply_format=wanted))


def test_long_patterns_are_judged_in_linear_time() -> None:
    for pattern in ("^" + "a?" * 400 + "!\\", "^" + "(?:" * 400, "^" + "[a" * 500_000):
        with pytest.raises(UnsupportedParameterError):
            sent(patterned(pattern))
