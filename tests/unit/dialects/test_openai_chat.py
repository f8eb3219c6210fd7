"""What the vectors of OpenAI's chat API do not show."""

import gc
import re
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params

from penstock.core import events as ev
from penstock.core.cards import ModelCard
from penstock.core.errors import ConfigError, InvalidRequestError, UnsupportedParameterError
from penstock.core.folding import Reply, fold
from penstock.core.ports import Call
from penstock.core.queries import Found, Query
from penstock.core.request import Request
from penstock.dialects import _openai_encode as encode
from penstock.dialects import _openai_shapes as shapes
from penstock.dialects import openai_completions, openai_embeddings
from penstock.dialects._openai_fields import CHAT, COMPLETIONS, EMBEDDINGS, Field
from penstock.dialects.openai_chat import Dialect, Encoder
from penstock.wire import json, sse

DIALECT = Dialect()
PAGES = Path(__file__).parents[3] / "docs" / "dialects"
START = ev.Start(stream="s", asked='m"content":""', binding="b", model="n", created=1_700_000_123)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def parse(body: object) -> Request:
    call = Call(DIALECT.routes[0], {}, {}, {}, msgspec.json.encode(body))
    found = DIALECT.parse(call)
    assert isinstance(found, Request)
    return found


def read_or_refused(body: object, param: str) -> bool:
    """Read, and stored as it was read; or refused with the field that was wrong."""
    try:
        request = parse(body)
    except InvalidRequestError as error:
        return names(error, param)
    return read_back(request) == request


def names(error: InvalidRequestError, param: str) -> bool:
    """Whether an error says which field was wrong (what is no JSON has none)."""
    return (error.param or "").startswith(param) or "not valid JSON" in error.message


def read_back(request: Request) -> Request:
    """The request as the log keeps it."""
    return json.decode(json.encode(request), Request, ConfigError)


def value(data: bytes) -> object:
    return json.decode(data, object, ConfigError)


# ── the table of fields ──────────────────────────────────────────────────────────────────────────


TABLES = {
    "openai_chat": (CHAT, shapes.ChatBody),
    "openai_completions": (COMPLETIONS, openai_completions.Body),
    "openai_embeddings": (EMBEDDINGS, openai_embeddings.Body),
}
PUBLISHED = {
    "openai_chat": (
        chat_create_params.CompletionCreateParamsNonStreaming,
        chat_create_params.CompletionCreateParamsStreaming,
    ),
    "openai_completions": (
        completion_create_params.CompletionCreateParamsNonStreaming,
        completion_create_params.CompletionCreateParamsStreaming,
    ),
    "openai_embeddings": (embedding_create_params.EmbeddingCreateParams,),
}
REFUSED = [field for field in CHAT if field.use == "refused"]


@pytest.mark.parametrize("dialect", sorted(TABLES))
def test_the_table_has_every_field_that_the_released_client_knows(dialect: str):
    known = {name for kind in PUBLISHED[dialect] for name in get_type_hints(kind)}
    assert known - {field.name for field in TABLES[dialect][0]} == set()


@pytest.mark.parametrize("dialect", sorted(TABLES))
def test_the_table_and_the_body_have_the_same_fields(dialect: str):
    table, body = TABLES[dialect]
    assert {field.name for field in table} == set(body.__struct_fields__)
    assert len({field.name for field in table}) == len(table)


@pytest.mark.parametrize("dialect", sorted(TABLES))
def test_the_page_has_the_table(dialect: str):
    lines = (PAGES / f"{dialect}.md").read_text().splitlines()
    told = [line for line in lines if re.match(r"\| `\w+` \| (honoured|hint|refused) \|", line)]
    wanted = []
    for field in TABLES[dialect][0]:
        note = f" {field.note} |" if field.note else " |"
        wanted.append(f"| `{field.name}` | {field.use} |{note}")
    assert told == wanted


@pytest.mark.parametrize("field", REFUSED, ids=lambda field: field.name)
def test_idle_values_of_refused_fields_ask_for_nothing(field: Field):
    messages = [{"role": "user", "content": "x"}]
    expected = parse({"messages": messages})
    for idle in (None, *field.idle):
        assert parse({"messages": messages, field.name: idle}) == expected


@pytest.mark.parametrize("field", REFUSED, ids=lambda field: field.name)
def test_refused_fields_are_named(field: Field):
    with pytest.raises(UnsupportedParameterError, match=field.name) as caught:
        parse({"messages": [{"role": "user", "content": "x"}], field.name: {"some": "wish"}})
    assert caught.value.param == field.name


@pytest.mark.parametrize("field", [f for f in CHAT if f.use == "hint"], ids=lambda f: f.name)
def test_hints_are_named_and_change_nothing(field: Field):
    messages = [{"role": "user", "content": "x"}]
    found = parse({"messages": messages, field.name: {"any": "thing"}})
    assert found.ignored == (field.name,)
    assert msgspec.structs.replace(found, ignored=()) == parse({"messages": messages})


# ── requests ─────────────────────────────────────────────────────────────────────────────────────


@given(st.sampled_from([field.name for field in CHAT]), values)
def test_any_value_of_any_field_is_read_or_refused_by_name(name: str, given_value: object):
    body = {"messages": [{"role": "user", "content": "x"}]} | {name: given_value}
    assert read_or_refused(body, name)


@given(st.dictionaries(st.sampled_from(shapes.ChatMessage.__struct_fields__), values))
def test_any_message_is_read_or_refused_by_name(message: dict[str, object]):
    body = {"messages": [message | {"role": message.get("role", "user")}]}
    assert read_or_refused(body, "messages[0]")


def test_a_schema_does_not_keep_the_body_alive():
    schema = {"type": "object"}
    body = {
        "messages": [{"role": "user", "content": "x"}],
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
    }
    asked = parse(body).reply_format
    assert asked is not None
    assert bytes(asked.schema or b"") == b'{"type":"object"}'


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


@given(st.text(), st.integers(min_value=0, max_value=2), st.booleans())
def test_the_short_way_of_text_writes_what_the_long_way_writes(text: str, n: int, usage: bool):
    encoder = Encoder(Request(stream=True, choices=3, include_usage=usage))
    list(encoder.feed(ev.Entry(ev.Seq(1), 0, START)))
    entry = ev.Entry(ev.Seq(2), 5, ev.TextDelta(part=1, text=text, choice=n))
    choice = encode.ChunkChoice(n, encode.Delta(content=text))
    chunk = encode.Chunk(
        "chatcmpl-s",
        "chat.completion.chunk",
        1_700_000,
        'm"content":""',
        (choice,),
        None if usage else msgspec.UNSET,
    )
    for _ in range(2):
        assert [frame.data for frame in encoder.feed(entry)] == [json.encode(chunk)]


def test_a_reply_without_a_beginning_is_an_error():
    assert DIALECT.whole(Request(), Reply()).status == 500


def test_an_error_of_somebody_else_is_told_as_its_nearest_parent():
    cls = type("StrangeError", (InvalidRequestError,), {"code": "strange"})
    answer = DIALECT.error(cls("strange", param="a[0].b"))
    assert value(answer.body) == {
        "error": {
            "message": "strange",
            "type": "invalid_request_error",
            "param": "a[0].b",
            "code": None,
        }
    }
    del cls
    gc.collect()


MODELS = (
    ModelCard(
        name="org/model",
        binding="cloud",
        modified=1_600_000_000,
        context_size=8192,
        inputs=("text", "image"),
    ),
    ModelCard(name="fast", binding="cloud", alias_of="org/model"),
    ModelCard(name="fast", binding="other"),
    ModelCard(name="alias", binding="other", alias_of="org/model"),
)


def permission(name: str, created: int) -> dict[str, object]:
    return {
        "id": f"modelperm-{name}-{created}",
        "created": created,
        "object": "model_permission",
        "allow_sampling": True,
        "allow_view": True,
        "allow_fine_tuning": False,
    }


def test_models_are_listed_once_with_their_aliases():
    found = Found(query=Query("models"), models=MODELS, now=1_700_000_000)
    answer = DIALECT.answer(found)
    assert answer.status == 200
    assert value(answer.body) == {
        "data": [
            {
                "id": "org/model",
                "object": "model",
                "created": 1_600_000_000,
                "owned_by": "cloud",
                "root": "org/model",
                "aliases": ["fast"],
                "max_model_len": 8192,
                "permission": [permission("org/model", 1_600_000_000)],
                "capabilities": {
                    "multimodal": True,
                    "inputs": ["text", "image"],
                    "outputs": ["text"],
                },
            },
            *[
                {
                    "id": name,
                    "object": "model",
                    "created": 1_700_000_000,
                    "owned_by": binding,
                    "root": "org/model",
                    "aliases": [],
                    "max_model_len": None,
                    "permission": [permission(name, 1_700_000_000)],
                    "capabilities": {
                        "multimodal": False,
                        "inputs": ["text"],
                        "outputs": ["text"],
                    },
                }
                for name, binding in (("fast", "cloud"), ("alias", "other"))
            ],
        ],
        "object": "list",
    }


def test_a_model_is_told_with_its_aliases():
    """As the gateway finds it: the model first, then what stands for it."""
    answer = DIALECT.answer(Found(query=Query("model", "cloud/org/model"), models=MODELS[:2]))
    assert answer.status == 200
    assert msgspec.json.decode(answer.body)["id"] == "org/model"
    assert msgspec.json.decode(answer.body)["aliases"] == ["fast"]


def test_a_model_that_nobody_offers_is_404():
    answer = DIALECT.answer(Found(query=Query("model", "gpt-9"), models=()))
    assert answer.status == 404
    assert value(answer.body) == {
        "error": {
            "message": "no model is named 'gpt-9'",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


# ── extras ───────────────────────────────────────────────────────────────────────────────────────


def told(request: Request, *events: ev.Event) -> list[dict[str, object]]:
    encoder = Encoder(request)
    entries = [ev.Entry(ev.Seq(n), n, event) for n, event in enumerate(events, 1)]
    frames = [frame.data for entry in entries for frame in encoder.feed(entry)]
    return [msgspec.json.decode(data) for data in frames if data != b"[DONE]"]


def test_the_backend_is_told_once_for_each_choice_and_names_no_host():
    start = msgspec.structs.replace(START, engine="openai")
    chunks = told(Request(choices=2), start, ev.TextDelta(part=1, text="x"), ev.Done(reason="stop"))
    backend = {"machine_name": "b", "engine_type": "openai"}
    assert [chunk.get("backend") for chunk in chunks] == [backend, backend, None, None, None]


def test_a_log_that_does_not_know_the_engine_tells_no_backend():
    assert all("backend" not in chunk for chunk in told(Request(), START, ev.Done(reason="stop")))


@pytest.mark.parametrize(
    ("timings", "expected"),
    [
        (ev.Timings(prompt=10, generation=2_000_000_000), 5.5),
        (ev.Timings(prompt=10), None),
        (ev.Timings(generation=11_000), None),  # eleven choices of a token each, at llama.cpp
        (None, None),
    ],
)
def test_speed_is_told_only_by_an_engine_that_measures_it(
    timings: ev.Timings | None, expected: float | None
):
    usage = ev.Usage(input_tokens=1, output_tokens=11, timings=timings)
    chunks = told(Request(include_usage=True), START, usage, ev.Done(reason="stop"))
    counts = chunks[-1]["usage"]
    assert isinstance(counts, dict)
    assert counts.get("tokens_per_second") == expected


# ── LLMaaS' demo (llmaas.md 1.4) ─────────────────────────────────────────────────────────────────


def demo_reads(body: bytes) -> tuple[str, bool]:
    """The streaming demo's own loop: lines by `str.splitlines`, `data: ` with its space, an exact
    `[DONE]`, broken JSON skipped, `choices[0].delta.content` where `choices` is there. What it
    would lose without a word is an error here, and so is what breaks its siblings.
    """
    text = ""
    for line in body.decode().splitlines():
        if not line:
            continue
        assert line.startswith("data: ")
        payload = line[6:]
        if payload == "[DONE]":
            return text, True
        chunk = msgspec.json.decode(payload.encode())
        choice = chunk["choices"][0]
        assert isinstance(choice["delta"], dict)
        for call in choice["delta"].get("tool_calls", []):
            assert isinstance(call["index"], int)
            assert isinstance(call["function"].get("arguments", ""), str)
        text += choice["delta"].get("content") or ""
    return text, False


@given(st.lists(st.text(), max_size=5))
def test_the_demo_reads_every_character(texts: list[str]):
    events = [ev.TextDelta(part=1, text=text) for text in texts]
    usage = ev.Usage(input_tokens=1, output_tokens=2)
    encoder = Encoder(Request(stream=True))
    call = ev.ToolCallDelta(part=2, call="c", name="f", arguments="{}")
    said: list[ev.Event] = [START, *events, call, usage, ev.Done(reason="stop")]
    entries = [ev.Entry(ev.Seq(n), n, event) for n, event in enumerate(said, 1)]
    frames = [frame for entry in entries for frame in encoder.feed(entry)]
    assert demo_reads(sse.frame(frames)) == ("".join(texts), True)


def test_a_choice_that_said_nothing_keeps_its_number():
    said: list[ev.Event] = [
        START,
        ev.TextDelta(part=1, text="a"),
        ev.TextDelta(part=2049, text="c", choice=2),
        ev.Done(reason="cancelled"),
    ]
    entries = [ev.Entry(ev.Seq(n), n, event) for n, event in enumerate(said, 1)]
    request = Request(choices=3)
    found = msgspec.json.decode(DIALECT.whole(request, fold(entries)).body)
    told = [(c["index"], c["message"]["content"], c["stop_reason"]) for c in found["choices"]]
    assert told == [(0, "a", "cancelled"), (1, "", "cancelled"), (2, "c", "cancelled")]


@pytest.mark.parametrize("more", [{}, {"arguments": None}, {"arguments": ""}])
def test_a_call_without_arguments_is_one_without_arguments(more: dict[str, object]):
    call = {"id": "c", "type": "function", "function": {"name": "f", **more}}
    said = [{"role": "assistant", "tool_calls": [call]}]
    (message,) = parse({"messages": said}).messages
    assert [(call.name, call.arguments) for call in message.tool_calls] == [("f", "")]
