"""What the vectors of OpenAI's text completions and embeddings do not show."""

import base64
import struct
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.dialects.test_openai_chat import names, read_back, values

from penstock.core import events as ev
from penstock.core.errors import InvalidRequestError, NotFoundError, UnsupportedParameterError
from penstock.core.folding import Reply, fold
from penstock.core.messages import say
from penstock.core.ports import Call
from penstock.core.queries import EmbedAsk, Embedded, Found, Query
from penstock.core.request import Request, Sampling
from penstock.dialects import openai_completions, openai_embeddings
from penstock.dialects._openai_fields import COMPLETIONS, EMBEDDINGS
from penstock.dialects._openai_logprobs import Offsets
from penstock.wire import json

TEXT = openai_completions.Dialect()
VECTORS = openai_embeddings.Dialect()
START = ev.Start(stream="s", asked='m"text":""', binding="b", model="n", created=1_700_000_123)


def parse(body: object) -> Request:
    return TEXT.parse(Call(TEXT.routes[0], {}, {}, {}, msgspec.json.encode(body)))


def asked(body: object) -> Query:
    return VECTORS.parse(Call(VECTORS.routes[0], {}, {}, {}, msgspec.json.encode(body)))


# ── requests ─────────────────────────────────────────────────────────────────────────────────────


def read_or_refused(name: str, value: object) -> bool:
    try:
        request = parse({"prompt": "x"} | {name: value})
    except InvalidRequestError as error:
        return names(error, name)
    return read_back(request) == request


def asked_or_refused(name: str, value: object) -> bool:
    try:
        query = asked({"input": "x"} | {name: value})
    except InvalidRequestError as error:
        return names(error, name)
    return query.operation == "embed"


@given(st.sampled_from([field.name for field in COMPLETIONS]), values)
def test_any_value_of_any_field_is_read_or_refused_by_name(name: str, value: object):
    assert read_or_refused(name, value)


@given(st.sampled_from([field.name for field in EMBEDDINGS]), values)
def test_any_value_of_an_embedding_is_read_or_refused_by_name(name: str, value: object):
    assert asked_or_refused(name, value)


def test_a_list_of_one_prompt_is_that_prompt():
    assert parse({"prompt": ["x"]}) == parse({"prompt": "x"})


def test_an_empty_suffix_and_the_published_defaults_ask_for_nothing():
    defaults = {"best_of": 1, "echo": False, "n": 1, "suffix": "", "logprobs": None}
    assert parse({"prompt": "x"} | defaults) == parse({"prompt": "x"})


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


@given(st.text(), st.integers(min_value=0, max_value=2), st.booleans())
def test_the_short_way_of_text_writes_what_the_long_way_writes(text: str, n: int, usage: bool):
    encoder = TEXT.encoder(Request(stream=True, choices=3, include_usage=usage))
    list(encoder.feed(ev.Entry(ev.Seq(1), 0, START)))
    entry = ev.Entry(ev.Seq(2), 5, ev.TextDelta(part=1, text=text, choice=n))
    chunk: dict[str, object] = {
        "id": "cmpl-s",
        "object": "text_completion",
        "created": 1_700_000,
        "choices": [{"text": text, "index": n, "logprobs": None, "finish_reason": None}],
        "model": 'm"text":""',
    }
    if usage:
        chunk["usage"] = None
    for _ in range(2):
        assert [frame.data for frame in encoder.feed(entry)] == [json.encode(chunk)]


def scores(*pieces: bytes) -> msgspec.Raw:
    return json.raw(
        json.encode(
            [
                {"token": p.decode(errors="replace"), "logprob": -1.0, "bytes": list(p)}
                for p in pieces
            ]
        )
    )


@given(st.text(min_size=1), st.text(), st.lists(st.integers(0, 30)))
def test_offsets_are_those_of_the_characters_however_a_text_is_cut(
    text: str, prompt: str, cuts: list[int]
):
    data = text.encode()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[a:b] for a, b in pairwise(places)]
    request = Request(messages=(say("user", prompt),), sampling=Sampling(logprobs=True))
    whole = Offsets(request).legacy([scores(*pieces)])
    steps = Offsets(request)
    streamed = [steps.legacy([scores(piece)]) for piece in pieces]
    assert whole is not None
    assert whole.text_offset == tuple(
        offset for one in streamed if one is not None for offset in one.text_offset
    )
    for place, offset in zip(places, whole.text_offset, strict=False):
        assert offset == len(prompt) + len(data[:place].decode(errors="ignore"))


def test_the_chosen_token_is_among_the_likeliest_even_when_it_was_not():
    told = json.raw(
        b'[{"token":"a","logprob":-9.0,"top_logprobs":[{"token":"b","logprob":-0.1},'
        b'{"token":"c","logprob":-1.0},{"token":"d","logprob":-2.0}]}]'
    )
    request = Request(sampling=Sampling(logprobs=True, top_logprobs=2))
    found = Offsets(request).legacy([told])
    assert found is not None
    assert found.top_logprobs == ({"b": -0.1, "c": -1.0, "a": -9.0},)


@pytest.mark.parametrize(
    "odd", ["[1]", '[{"token":"a"}]', '[{"token":"a","logprob":-1,"bytes":[300]}]', "[]"]
)
def test_scores_of_another_shape_take_no_text_away(odd: str):
    said: list[ev.Event] = [
        START,
        ev.TextDelta(part=1, text="a", logprobs=json.raw(odd)),
        ev.Done(reason="stop"),
    ]
    entries = [ev.Entry(ev.Seq(n), n, event) for n, event in enumerate(said, 1)]
    request = parse({"prompt": "x", "logprobs": 1})
    encoder = TEXT.encoder(request)
    first = next(frame for entry in entries for frame in encoder.feed(entry))
    for told in (first.data, TEXT.whole(request, fold(entries)).body):
        (choice,) = msgspec.json.decode(told)["choices"]
        assert (choice["text"], choice["logprobs"]) == ("a", None)


def test_no_likeliest_tokens_may_be_null():
    told = json.raw(b'[{"token":"a","logprob":-9.0,"top_logprobs":null}]')
    found = Offsets(Request(sampling=Sampling(logprobs=True, top_logprobs=2))).legacy([told])
    assert found is not None
    assert found.top_logprobs == ({"a": -9.0},)


def test_a_reply_without_a_beginning_is_an_error():
    assert TEXT.whole(Request(), Reply()).status == 500


def test_an_answer_of_nothing_is_an_empty_text():
    entries = [ev.Entry(ev.Seq(1), 0, START), ev.Entry(ev.Seq(2), 1, ev.Done(reason="stop"))]
    request = parse({"prompt": "x"})
    found = msgspec.json.decode(TEXT.whole(request, fold(entries)).body)
    assert [choice["text"] for choice in found["choices"]] == [""]


def test_a_binding_without_raw_texts_is_told_of_the_prompt():
    refused = UnsupportedParameterError("the binding 'b' does not support raw", param="raw")
    found = msgspec.json.decode(TEXT.error(refused).body)["error"]
    assert found["message"] == "prompt: the binding 'b' does not support raw texts"
    assert (found["param"], found["code"]) == ("prompt", "unsupported_parameter")


def test_another_dialects_question_is_none_of_this_one():
    assert TEXT.answer(Found(query=Query("models"))).status == 500


# ── embeddings ───────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_base64_holds_the_same_numbers(vector: list[float]):
    query = asked({"input": "x", "encoding_format": "base64"})
    embedded = Embedded(vectors=(tuple(vector),), input_tokens=1, model="m")
    answer = VECTORS.answer(Found(query=query, embedded=embedded))
    data = base64.b64decode(msgspec.json.decode(answer.body)["data"][0]["embedding"])
    assert list(struct.unpack(f"<{len(vector)}f", data)) == vector


def test_vectors_that_nobody_found_are_an_error():
    query = Query("embed", ask=EmbedAsk(texts=("x",)))
    assert VECTORS.answer(Found(query=query)).status == 500


def test_no_stream_is_told_as_embeddings():
    for tell in (VECTORS.opening, VECTORS.encoder):
        with pytest.raises(NotFoundError):
            tell(Request())
    with pytest.raises(NotFoundError):
        VECTORS.whole(Request(), Reply())


def test_a_stored_request_is_the_same():
    request = parse({"prompt": "x", "echo": True, "suffix": "y"})
    assert read_back(request) == request
