"""A call that must be made: its text, its schema, and how a template writes one."""

import pytest

from penstock.core.errors import EngineError, InvalidRequestError
from penstock.core.events import Done, Event, TextDelta, ToolCallDelta, Usage
from penstock.engines._llama_forced import Call, Writing, grammar, moved, opened
from penstock.wire import json

WRITTEN = '{"name": "say_\\"it\\"", "arguments": {"a": "}{\\\\\\"", "b": [{"c": 1}, {}], "d": {}}}'
ARGUMENTS = '{"a": "}{\\\\\\"", "b": [{"c": 1}, {}], "d": {}}'


def read(pieces: list[str], end: Event | None = None) -> list[Event]:
    call = Call(['say_"it"'])
    found: list[Event] = []
    for piece in pieces:
        found += call.feed([TextDelta(part=1, text=piece)])
    return found + call.feed([end or Done(reason="stop")])


def told(events: list[Event]) -> tuple[list[str], str, Event]:
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert len({delta.call for delta in deltas}) <= 1
    names = [delta.name for delta in deltas if delta.name is not None]
    assert not any(isinstance(event, TextDelta) for event in events)
    return names, "".join(delta.arguments for delta in deltas), events[-1]


@pytest.mark.parametrize("after", ["", "\n</tool_call>", " \n"])
def test_a_call_is_the_same_however_its_text_is_cut(after: str):
    text = WRITTEN + after
    cuts = [[text], list(text)]
    cuts += [[text[:n], text[n:]] for n in range(1, len(text))]
    for pieces in cuts:
        assert told(read(pieces)) == (['say_"it"'], ARGUMENTS, Done(reason="tool_calls"))
    json.decode(ARGUMENTS, object, EngineError)


@pytest.mark.parametrize("n", range(0, len(WRITTEN) - 1, 3))
def test_a_call_that_was_cut_is_none(n: int):
    names, arguments, end = told(read([WRITTEN[:n]], Done(reason="length")))
    assert end == Done(reason="length")
    assert ARGUMENTS.startswith(arguments)
    assert len(names) <= 1
    # The model's own end before the call's end: nothing held it to a call.
    with pytest.raises(InvalidRequestError):
        read([WRITTEN[:n]])


def test_what_is_no_text_passes():
    call, usage = Call(['say_"it"']), Usage(input_tokens=1, output_tokens=2)
    found = call.feed([TextDelta(part=1, text=WRITTEN), usage, Done(reason="stop")])
    assert found[-2:] == [usage, Done(reason="tool_calls")]


@pytest.mark.parametrize(
    "text",
    ["I can't know", '{"name": "other", "arguments": {}}', '{"name": "say", "arguments": 1}'],
)
def test_text_that_is_no_call_of_these_tools_is_an_error(text: str):
    for pieces in ([text], list(text)):
        call = Call(["say"])
        with pytest.raises(InvalidRequestError) as caught:
            for piece in pieces:
                call.feed([TextDelta(part=1, text=piece)])
        assert caught.value.param == "tools"


PROMPT = "<|user|>Hi<|assistant|>"


@pytest.mark.parametrize(
    ("rest", "writing"),
    [
        (  # Hermes, Qwen
            '<tool_call>\n{"name": "penstock_sample", "arguments": {"k": 1}}'
            "\n</tool_call><|im_end|>",
            Writing("<tool_call>\n", "\n</tool_call>", "arguments"),
        ),
        (  # Llama 3
            '{"name": "penstock_sample", "parameters": {"k": 1}}<|eot_id|>',
            Writing("", "", "parameters"),
        ),
        # Mistral writes a list: its JSON is none of ours.
        ('[TOOL_CALLS] [{"name": "penstock_sample", "arguments": {"k": 1}}]</s>', None),
        ("<function=penstock_sample><parameter=k>1</parameter></function>", None),
        ("Nothing of the kind", None),
    ],
)
def test_how_a_template_writes_a_call(rest: str, writing: Writing | None):
    assert opened(PROMPT, PROMPT + rest) == (writing or Writing())
    assert opened(PROMPT, "another prompt" + rest) == Writing()


def test_references_follow_their_schema_and_objects_are_closed():
    schema = {
        "type": "object",
        "properties": {
            "a": {"$ref": "#/$defs/A"},
            "properties": {"type": "object", "properties": {"$ref": {"type": "string"}}},
            "open": {"type": "object", "properties": {}, "additionalProperties": True},
            "kept": {"const": {"$ref": "#/x", "properties": {}}},
        },
        "required": ["a"],
        "$defs": {"A": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    }
    assert moved(schema, "#/$defs/t0") == {
        "type": "object",
        "properties": {
            "a": {"$ref": "#/$defs/t0/$defs/A"},
            "properties": {
                "type": "object",
                "properties": {"$ref": {"type": "string"}},
                "additionalProperties": False,
            },
            "open": {"type": "object", "properties": {}, "additionalProperties": True},
            "kept": {"const": {"$ref": "#/x", "properties": {}}},
        },
        "required": ["a"],
        "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/t0"}, {"type": "null"}]}},
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {}}, "required": ["a", "b"]},
        {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}, "required": ["b"]}]},
        {"properties": {"a": {}}, "anyOf": [{"properties": {"b": {}}, "required": ["b"]}]},
        {"not": {"properties": {"a": {}}}},
    ],
)
def test_no_object_is_closed_that_needs_members_which_it_does_not_name(schema: dict[str, object]):
    assert moved(schema, "#/$defs/t0") == schema


def test_alternatives_that_stand_alone_are_closed():
    schema: dict[str, object] = {"anyOf": [{"properties": {"a": {}}}]}
    closed = {"anyOf": [{"properties": {"a": {}}, "additionalProperties": False}]}
    assert moved(schema, "#") == closed


def test_a_grammar_admits_what_closes_a_call():
    plain = grammar({"type": "object"}, "")
    closed = grammar({"type": "object"}, '\n</"tool">')
    assert plain != closed
    assert json.encode('\n</"tool">').decode() in closed
