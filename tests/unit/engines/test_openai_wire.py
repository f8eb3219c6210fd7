"""Chunks as servers really send them, as events."""

import msgspec
import pytest

from penstock.core.events import (
    Done,
    Event,
    Failed,
    Finish,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from penstock.engines._openai_wire import Chunks
from penstock.wire import json

STOP = b'{"choices":[{"delta":{},"finish_reason":"stop"}]}'


def play(*chunks: bytes, choices: int = 1, think_tags: bool = True) -> list[Event]:
    reader = Chunks(choices, think_tags=think_tags)
    return [event for chunk in chunks for event in reader.feed(chunk)] + reader.end()


def delta(**fields: object) -> bytes:
    return json.encode({"choices": [{"index": 0, "delta": fields, "finish_reason": None}]})


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def thought(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def calls(events: list[Event]) -> dict[int, tuple[str, str, str]]:
    found: dict[int, tuple[str, str, str]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            call, name, arguments = found.get(event.part, (event.call, "", ""))
            found[event.part] = call, name + (event.name or ""), arguments + event.arguments
    return found


@pytest.mark.parametrize(
    "chunk",
    [
        b'{"choices":[]}',
        b'{"choices":null}',
        b"{}",
        b'{"choices":[{"delta":null}]}',
        b'{"choices":[{"index":null,"delta":{"content":null,"tool_calls":null}}],"usage":null}',
        b'{"choices":[{"delta":{"content":"","role":"assistant","tool_calls":[]}}],"error":null}',
        b'{"choices":[{"delta":{"audio":{"x":1}},"logprobs":{"content":null}}],"x":[1]}',
    ],
)
def test_chunks_that_say_nothing(chunk: bytes) -> None:
    assert play(chunk, delta(content="a"), STOP) == [
        TextDelta(part=1, text="a"),
        Done(reason="stop"),
    ]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "filtered"),
        ("eos", "stop"),
        ("STOP", "stop"),
        ("something new", "stop"),
    ],
)
def test_finish_reasons(said: str, reason: str) -> None:
    end = json.encode({"choices": [{"delta": {}, "finish_reason": said}]})
    assert play(delta(content="a"), end)[-1] == Done(reason=reason)  # type: ignore[arg-type]


def test_usage_comes_once_and_last_whenever_it_was_sent() -> None:
    usage = (
        b'{"choices":[{"delta":{"content":"b"}}],'
        b'"usage":{"prompt_tokens":3,"completion_tokens":%d}}'
    )
    every = play(usage % 1, usage % 2, STOP)
    after = play(
        delta(content="b"),
        delta(content="b"),
        STOP,
        b'{"usage":{"prompt_tokens":3,"completion_tokens":2}}',
    )
    assert every == after
    assert every[-2] == Usage(input_tokens=3, output_tokens=2)


def test_usage_details_of_openai_and_flat_ones_of_llmaas() -> None:
    nested = (
        b'{"usage":{"prompt_tokens":3,"completion_tokens":9,'
        b'"prompt_tokens_details":{"cached_tokens":2},'
        b'"completion_tokens_details":{"reasoning_tokens":4}}}'
    )
    flat = b'{"usage":{"prompt_tokens":3,"completion_tokens":9,"reasoning_tokens":4}}'
    assert play(STOP, nested)[-2] == Usage(
        input_tokens=3, output_tokens=9, reasoning_tokens=4, cached_tokens=2
    )
    assert play(STOP, flat)[-2] == Usage(input_tokens=3, output_tokens=9, reasoning_tokens=4)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ('{"prompt_tokens":3.0,"completion_tokens":2.0}', (3, 2)),
        ('{"prompt_tokens":3,"completion_tokens":null}', (3, 0)),
        ('{"prompt_tokens":-3,"completion_tokens":2}', (0, 2)),
        ('{"prompt_tokens":3,"completion_tokens":99999999999999999999}', (3, 0)),
        ('{"prompt_tokens":null,"completion_tokens":null}', None),
        ("{}", None),
    ],
)
def test_odd_counts_break_no_answer(told: str, expected: tuple[int, int] | None) -> None:
    found = play(delta(content="a"), STOP, f'{{"choices":[],"usage":{told}}}'.encode())
    usages = [event for event in found if isinstance(event, Usage)]
    assert [(u.input_tokens, u.output_tokens) for u in usages] == ([expected] if expected else [])
    assert found[-1] == Done(reason="stop")


@pytest.mark.parametrize("nothing", [b"", b" "])
def test_an_event_without_a_word_says_nothing(nothing: bytes) -> None:
    assert play(nothing, delta(content="a"), nothing, STOP) == play(delta(content="a"), STOP)


@pytest.mark.parametrize("odd", ['{"x":1}', '"x"', "5", "null", "[]"])
def test_logprobs_that_are_no_list_are_none(odd: str) -> None:
    said = f'"delta":{{"content":"a"}},"text":"b","logprobs":{{"content":{odd}}}'
    found = play(f'{{"choices":[{{{said}}}]}}'.encode(), STOP)
    assert text(found) == "ab"
    assert all(e.logprobs is msgspec.UNSET for e in found if isinstance(e, TextDelta))


def test_timings_of_llama_cpp_alone_make_a_usage() -> None:
    timings = (
        b'{"timings":{"prompt_n":7,"cache_n":1,"predicted_n":2,"prompt_ms":1.5,"predicted_ms":2}}'
    )
    usage = play(STOP, timings)[-2]
    assert isinstance(usage, Usage)
    assert usage.timings is not None
    assert (usage.input_tokens, usage.output_tokens) == (8, 2)
    assert (usage.timings.prompt, usage.timings.generation) == (1_500_000, 2_000_000)


def test_without_a_finish_reason_it_failed_exactly_once() -> None:
    reader = Chunks()
    reader.feed(delta(content="a"))
    (end,) = reader.end()
    assert isinstance(end, Failed)
    assert end.code == "engine_protocol"
    assert reader.end() == []
    assert reader.feed(delta(content="b")) == []


@pytest.mark.parametrize(
    ("chunk", "code"),
    [
        (b'{"error":{"message":"no luck","type":"server_error","code":500}}', "engine_failed"),
        (b'{"error":"no luck"}', "engine_failed"),
        (b'{"object":"error","message":"no luck","code":400}', "engine_failed"),
        (b'{"error":{"message":"no luck","type":"rate_limit_error"}}', "overloaded"),
        (b'{"error":{"message":"no luck","code":"429"}}', "overloaded"),
        (b'{"error":{"message":"no luck","type":"invalid_request_error"}}', "engine_refused"),
    ],
)
def test_error_objects_end_the_stream(chunk: bytes, code: str) -> None:
    events = play(delta(content="a"), chunk, STOP)
    assert events[0] == TextDelta(part=1, text="a")
    (end,) = events[1:]
    assert isinstance(end, Failed)
    assert end.code == code
    assert "no luck" in end.message


def test_half_a_secret_is_left_in_no_error() -> None:
    chunks = Chunks(mask=lambda text: text.replace("sk-secret", "***"))
    (end,) = chunks.error(b"x" * 595 + b"sk-secret" + b"y" * 1000)
    assert isinstance(end, Failed)
    assert "xxx" in end.message
    assert "sk" not in end.message


def test_a_finish_reason_that_is_an_error() -> None:
    end = play(delta(content="a"), b'{"choices":[{"delta":{},"finish_reason":"abort"}]}')[-1]
    assert isinstance(end, Failed)


@pytest.mark.parametrize(
    "chunk",
    [
        b"garbage",
        b"[1]",
        b'{"choices":3}',
        b'{"choices":[{"delta":{"content":5}}]}',
        b'{"choices":[{',
    ],
)
def test_nonsense_is_a_protocol_error_that_quotes_nothing(chunk: bytes) -> None:
    (end,) = play(chunk, STOP)
    assert isinstance(end, Failed)
    assert end.code == "engine_protocol"
    assert "garbage" not in end.message


def test_deep_nesting_is_survived() -> None:
    (end,) = play(b'{"error":' * 100_000, STOP)
    assert isinstance(end, Failed)


def test_text_held_back_for_a_tag_is_said_before_the_error() -> None:
    events = play(delta(content="<thi"), b'{"error":"no luck"}')
    assert text(events) == "<thi"


class TestToolCalls:
    def test_by_index(self) -> None:
        found = calls(
            play(
                delta(
                    tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]
                ),
                delta(
                    tool_calls=[
                        {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{"}}
                    ]
                ),
                delta(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}]),
                delta(tool_calls=[{"index": 1, "id": "", "function": {"arguments": "}"}}]),
                STOP,
            )
        )
        assert found == {2: ("a", "f", "{}"), 3: ("b", "g", "{}")}

    def test_whole_calls_without_index(self) -> None:
        whole = [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]
        more = [{"id": "b", "function": {"name": "f", "arguments": None}}]
        found = calls(play(delta(tool_calls=whole), delta(tool_calls=more), STOP))
        assert found == {2: ("a", "f", '{"x":1}'), 3: ("b", "f", "")}

    def test_neither_index_nor_id(self) -> None:
        found = calls(
            play(
                delta(tool_calls=[{"function": {"name": "f", "arguments": "{"}}]),
                delta(tool_calls=[{"function": {"arguments": "}"}}]),
                delta(tool_calls=[{"function": {"name": "g", "arguments": "{}"}}]),
                STOP,
            )
        )
        assert found == {2: ("call_0", "f", "{}"), 3: ("call_1", "g", "{}")}

    def test_every_call_at_index_zero(self) -> None:
        found = calls(
            play(
                delta(
                    tool_calls=[
                        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
                    ]
                ),
                delta(
                    tool_calls=[
                        {"index": 0, "id": "b", "function": {"name": "g", "arguments": "{}"}}
                    ]
                ),
                STOP,
            )
        )
        assert found == {2: ("a", "f", "{}"), 3: ("b", "g", "{}")}

    def test_a_name_that_comes_late_or_never(self) -> None:
        events = play(
            delta(tool_calls=[{"index": 0, "id": "a", "function": {"arguments": "{"}}]),
            delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "}"}}]),
            delta(tool_calls=[{"index": 1, "function": {"arguments": "[]"}}]),
            STOP,
        )
        assert calls(events) == {2: ("a", "f", "{}"), 3: ("call_1", "", "[]")}
        first = next(event for event in events if isinstance(event, ToolCallDelta))
        assert first.name == "f"

    def test_a_repeated_name_is_said_once(self) -> None:
        piece = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "x"}}
        assert calls(play(delta(tool_calls=[piece]), delta(tool_calls=[piece]), STOP)) == {
            2: ("a", "f", "xx")
        }

    def test_function_call_of_before_there_were_tools(self) -> None:
        events = play(
            delta(function_call={"name": "f", "arguments": ""}),
            delta(function_call={"arguments": "{}"}),
            b'{"choices":[{"delta":{},"finish_reason":"function_call"}]}',
        )
        assert calls(events) == {2: ("call_0", "f", "{}")}
        assert events[-1] == Done(reason="tool_calls")

    def test_more_calls_than_part_numbers(self) -> None:
        many = [{"index": n, "id": str(n), "function": {"name": "f"}} for n in range(2000)]
        end = play(delta(tool_calls=many), STOP)[-1]
        assert isinstance(end, Failed)


class TestReasoning:
    ANSWER = " <THINK>\nabc <think> < / </thin \n</think>\n\nHello <think>x</think> \n"
    THOUGHT = "abc <think> < / </thin"
    REST = "Hello <think>x</think> \n"

    def split(self, pieces: list[str]) -> tuple[str, str]:
        events = play(*(delta(content=piece) for piece in pieces), STOP)
        assert events[-1] == Done(reason="stop")
        return thought(events), text(events)

    def test_tags_cut_at_every_position(self) -> None:
        whole = self.ANSWER
        for n in range(len(whole) + 1):
            assert self.split([whole[:n], whole[n:]]) == (self.THOUGHT, self.REST), n
        assert self.split(list(whole)) == (self.THOUGHT, self.REST)

    @pytest.mark.parametrize(
        ("whole", "thinking", "answer"),
        [
            ("no tag", "", "no tag"),
            ("Use <think> so: <think>a</think>", "", "Use <think> so: <think>a</think>"),
            ("<think></think>a", "", "a"),
            ("<think>never closed", "never closed", ""),
            ("<think>a</thi", "a</thi", ""),
            ("<thin air", "", "<thin air"),
            ("<thin", "", "<thin"),
            ("  \n", "", "  \n"),
            ("<thinking>a", "", "<thinking>a"),
            (" " * 200 + "a", "", " " * 200 + "a"),
            ("<think>İstanbul</think>ok", "İstanbul", "ok"),
        ],
    )
    def test_what_is_a_tag(self, whole: str, thinking: str, answer: str) -> None:
        assert self.split([whole]) == (thinking, answer)
        assert self.split(list(whole)) == (thinking, answer)

    def test_tags_can_be_left_alone(self) -> None:
        assert text(play(delta(content="<think>a</think>b"), STOP, think_tags=False)) == (
            "<think>a</think>b"
        )

    @pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
    def test_fields(self, field: str) -> None:
        events = play(delta(**{field: "hm", "content": ""}), delta(content="<think>"), STOP)
        assert events[:2] == [ReasoningDelta(part=0, text="hm"), TextDelta(part=1, text="<think>")]

    def test_mistrals_content_in_parts(self) -> None:
        parts = [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": "a"},
        ]
        events = play(delta(content=parts), STOP)
        assert (thought(events), text(events)) == ("hm", "a")

    def test_a_refusal_is_what_the_model_says(self) -> None:
        assert text(play(delta(refusal="No."), STOP)) == "No."


class TestChoices:
    def test_each_has_its_own_parts_and_end(self) -> None:
        def at(n: int, text: str = "", reason: str | None = None) -> bytes:
            choice = {"index": n, "delta": {"content": text}, "finish_reason": reason}
            return json.encode({"choices": [choice]})

        events = play(
            at(1, "b"),
            at(0, "<th"),
            at(0, "ink>x</think>a"),
            at(1, "", "length"),
            at(0, "", "stop"),
            choices=2,
        )
        assert events == [
            TextDelta(part=1025, text="b", choice=1),
            ReasoningDelta(part=0, text="x"),
            TextDelta(part=1, text="a"),
            Finish(choice=1, reason="length"),
            Finish(choice=0, reason="stop"),
            Done(reason="stop"),
        ]

    def test_one_that_never_ends_breaks_the_stream(self) -> None:
        chunk = (
            b'{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"},'
            b'{"index":1,"delta":{"content":"b"}}]}'
        )
        assert isinstance(play(chunk, choices=2)[-1], Failed)

    def test_one_too_many(self) -> None:
        assert isinstance(play(b'{"choices":[{"index":7,"delta":{}}]}', choices=2)[-1], Failed)

    def test_a_strange_index_when_one_was_asked(self) -> None:
        assert text(play(b'{"choices":[{"index":7,"delta":{"content":"a"}}]}', STOP)) == "a"


class TestHalfCharacters:
    def test_halves_in_two_chunks_are_joined(self) -> None:
        events = play(
            b'{"choices":[{"delta":{"content":"a \\\\ud83d \\ud83d"}}]}',
            b'{"choices":[{"delta":{"content":"\\uDE00 b"}}]}',
            STOP,
        )
        assert text(events) == "a \\ud83d \U0001f600 b"

    def test_a_half_without_its_other(self) -> None:
        events = play(b'{"choices":[{"delta":{"content":"\\ud83d"}}]}', delta(content="b"), STOP)
        assert text(events) == "\ufffdb"

    def test_in_reasoning_and_arguments(self) -> None:
        events = play(
            b'{"choices":[{"delta":{"reasoning":"\\ud83d"}}]}',
            b'{"choices":[{"delta":{"reasoning":"\\ude00"}}]}',
            b'{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"\\ud83d"}}]}}]}',
            b'{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"arguments":"\\ude00"}}]}}]}',
            STOP,
        )
        assert thought(events) == "\U0001f600"
        assert calls(events) == {2: ("a", "f", "\U0001f600")}


def test_logprobs_of_pieces_that_were_held_back_are_kept() -> None:
    def chunk(text: str) -> bytes:
        choice = {"delta": {"content": text}, "logprobs": {"content": [{"token": text}]}}
        return json.encode({"choices": [choice]})

    first = play(chunk("<th"), chunk("e"), STOP)[0]
    assert isinstance(first, TextDelta)
    assert first.text == "<the"
    assert json.encode(first.logprobs) == b'[{"token":"<th"},{"token":"e"}]'


def test_our_secret_does_not_come_back() -> None:
    reader = Chunks(mask=lambda text: text.replace("sk-1", "***"))
    (end,) = reader.feed(b'{"error":{"message":"bad key sk-1"}}')
    assert isinstance(end, Failed)
    assert "sk-1" not in end.message
