"""What the vectors of OpenAI's chat API do not show."""

import gc
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)

from penstock.core import events as ev
from penstock.core.cards import ModelCard
from penstock.core.errors import ConfigError, InvalidRequestError
from penstock.core.folding import Reply
from penstock.core.ports import Call
from penstock.core.queries import Found, Query
from penstock.core.request import Request
from penstock.dialects import _openai_encode as encode
from penstock.dialects import _openai_shapes as shapes
from penstock.dialects._openai_fields import CHAT, COMPLETIONS, EMBEDDINGS, Field
from penstock.dialects.openai_chat import Dialect, Encoder
from penstock.wire import json

DIALECT = Dialect()
PAGE = Path(__file__).parents[3] / "docs" / "dialects" / "openai_chat.md"
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
        return (error.param or "").startswith(param) or "not valid JSON" in error.message
    return json.decode(json.encode(request), Request, ConfigError) == request


def value(data: bytes) -> object:
    return json.decode(data, object, ConfigError)


# ── the table of fields ──────────────────────────────────────────────────────────────────────────


def test_the_table_has_every_field_that_the_released_client_knows():
    known = get_type_hints(CompletionCreateParamsNonStreaming) | get_type_hints(
        CompletionCreateParamsStreaming
    )
    assert set(known) - {field.name for field in FIELDS} == set()


def test_the_table_and_the_body_have_the_same_fields():
    assert {field.name for field in FIELDS} == set(shapes.Body.__struct_fields__)


def test_the_page_has_the_table():
    lines = PAGE.read_text().splitlines()
    for field in FIELDS:
        note = f" {field.note} |" if field.note else " |"
        assert f"| `{field.name}` | {field.use} |{note}" in lines


@pytest.mark.parametrize("field", REFUSED, ids=lambda field: field.name)
def test_idle_values_of_refused_fields_ask_for_nothing(field: Field):
    messages = [{"role": "user", "content": "x"}]
    expected = parse({"messages": messages})
    for idle in (None, *field.idle):
        assert parse({"messages": messages, field.name: idle}) == expected


# ── requests ─────────────────────────────────────────────────────────────────────────────────────


@given(st.sampled_from([field.name for field in FIELDS]), values)
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


def test_a_model_is_found_by_its_id():
    answer = DIALECT.answer(Found(query=Query("model", "org/model"), models=MODELS))
    assert answer.status == 200
    assert b'"id":"org/model"' in answer.body


def test_a_model_that_nobody_offers_is_404():
    answer = DIALECT.answer(Found(query=Query("model", "gpt-9"), models=MODELS))
    assert answer.status == 404
    assert value(answer.body) == {
        "error": {
            "message": "no model is named 'gpt-9'",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }
