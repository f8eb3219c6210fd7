"""The Ollama dialect, where no vector shows it; the released client reads what the vectors say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import ollama
import pytest

from penstock.core import events as ev
from penstock.core.cards import ModelCard
from penstock.core.errors import (
    InternalError,
    InvalidRequestError,
    ModalityError,
    UnsupportedParameterError,
    error_classes,
    from_code,
)
from penstock.core.folding import fold
from penstock.core.ports import Call, Route
from penstock.core.queries import BlobAsk, Found, LoadedModel, ModelDetails, Query
from penstock.core.request import Request
from penstock.dialects.ollama import Dialect
from penstock.testing.cases import DialectVector, dialect_vectors
from penstock.wire import json as door

ROOT = Path(__file__).parents[2] / "vectors"
DIALECT = Dialect()
SAID = [{"role": "user", "content": "x"}]
STREAM = "0f4b6d1a8c2e4795a3b1d5f70918273f"


def route(method: str, path: str) -> Route:
    return next(r for r in DIALECT.routes if (r.method, r.path) == (method, path))


def parsed(path: str, body: object, method: str = "POST") -> Request | Query:
    data = json.dumps(body).encode()
    return DIALECT.parse(Call(route(method, path), {}, {}, {}, data))


def request(path: str, **body: object) -> Request:
    found = parsed(path, {"model": "m", **body})
    assert isinstance(found, Request)
    return found


def entries(*events: tuple[int, ev.Event]) -> list[ev.Entry]:
    start = ev.Start(stream=STREAM, asked="m", binding="b", model="own", created=1_735_689_599_900)
    told: list[tuple[int, ev.Event]] = [(0, start), *events]
    return [ev.Entry(ev.Seq(n), ms, event) for n, (ms, event) in enumerate(told, 1)]


def lines(asked: Request, told: list[ev.Entry]) -> list[Any]:
    encoder = DIALECT.encoder(asked)
    return [json.loads(frame.data) for entry in told for frame in encoder.feed(entry)]


# ── what is asked ────────────────────────────────────────────────────────────────────────────────


def test_streams_unless_told_otherwise():
    assert request("/api/generate", prompt="x").stream is True
    assert request("/api/chat", messages=[{"role": "user", "content": "x"}]).stream is True
    assert request("/api/pull").stream is True
    assert request("/api/generate", prompt="x", stream=False).stream is False
    assert request("/api/generate", prompt="x", stream=None).stream is True


def test_the_context_of_an_answer_names_its_stream():
    asked = request("/api/generate", prompt="x")
    (last,) = lines(asked, entries((9, ev.Done(reason="stop"))))
    assert all(isinstance(number, int) for number in last["context"])
    assert request("/api/generate", prompt="y", context=last["context"]).continues == STREAM
    assert request("/api/generate", prompt="y", context=[]).continues is None
    for foreign in (
        [1, 2, 3],
        last["context"][:8],
        [*last["context"], 300],
        [*last["context"], 10],
    ):
        with pytest.raises(InvalidRequestError, match="context"):
            request("/api/generate", prompt="y", context=foreign)


@pytest.mark.parametrize("keep", [0, 0.0, "0", "0s", "0m", "0h", "0ms", "0.0s"])
def test_no_time_to_keep_unloads(keep: object):
    found = parsed("/api/generate", {"model": "m", "keep_alive": keep})
    assert isinstance(found, Query)
    assert found.operation == "unload_model"
    found = parsed("/api/chat", {"model": "m", "messages": [], "keep_alive": keep})
    assert isinstance(found, Query)
    assert found.operation == "unload_model"


@pytest.mark.parametrize("keep", [5, -1, "5m", "10s", "0s1m"])
def test_any_other_time_loads_and_is_named(keep: object):
    found = parsed("/api/generate", {"model": "m", "keep_alive": keep})
    assert isinstance(found, Query)
    assert (found.operation, found.ignored) == ("load_model", ("keep_alive",))


@pytest.mark.parametrize(("said", "most"), [(-2, None), (-1, None), (0, None), (1, 1), (700, 700)])
def test_how_long_an_answer_may_be(said: int, most: int | None):
    sampling = request("/api/generate", prompt="x", options={"num_predict": said}).sampling
    assert sampling.max_tokens == most


def test_a_whole_number_may_be_written_with_a_point():
    said = b'{"model":"m","prompt":"x","options":{"seed":1.0,"num_predict":20.0,"top_k":5.0}}'
    found = DIALECT.parse(Call(route("POST", "/api/generate"), {}, {}, {}, said))
    assert isinstance(found, Request)
    assert (found.sampling.seed, found.sampling.max_tokens, found.sampling.top_k) == (1, 20, 5)


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"frequency_penalty": 3}, "options.frequency_penalty"),
        ({"mirostat": 1}, "options.mirostat"),
        ({"num_predict": 2**31}, "options.num_predict"),
        ({"top_k": 10**30}, "options.top_k"),
        ({"repeat_last_n": 2**31}, "options.repeat_last_n"),
        ({"seed": 1.5}, "options.seed"),
    ],
)
def test_wrong_options_are_refused_also_where_a_model_is_only_loaded(
    path: str, options: object, param: str
):
    with pytest.raises(InvalidRequestError) as caught:
        parsed(path, {"model": "m", "options": options})
    assert caught.value.param == param


def test_nothing_said_in_two_quotes_is_not_given():
    call = {"function": {"name": "f", "arguments": {}}, "id": ""}
    result = {"role": "tool", "content": "1", "tool_name": "", "tool_call_id": ""}
    said = [{"role": "assistant", "tool_calls": [call], "thinking": ""}, result]
    found = request("/api/chat", messages=said, keep_alive="", think="", format="")
    asked, told = found.messages
    assert told.tool_call_id == asked.tool_calls[0].id
    assert (found.ignored, found.effort, found.reply_format) == ((), None, None)
    loaded = parsed("/api/chat", {"model": "m", "keep_alive": ""})
    assert isinstance(loaded, Query)
    assert (loaded.operation, loaded.ignored) == ("load_model", ())


@pytest.mark.parametrize(
    "arguments", [[], 1, "[1]", '{"a":', "", "  "], ids=["list", "number", "text", "cut", "", " "]
)
def test_arguments_must_be_an_object(arguments: object):
    call = {"function": {"name": "f", "arguments": arguments}}
    said = [{"role": "assistant", "tool_calls": [call]}]
    if isinstance(arguments, str) and not arguments.strip():
        assert request("/api/chat", messages=said).messages[0].tool_calls[0].arguments == "{}"
        return
    with pytest.raises(InvalidRequestError) as caught:
        request("/api/chat", messages=said)
    assert caught.value.param == "messages[0].tool_calls[0].function.arguments"


@pytest.mark.parametrize(
    "more",
    [
        b'"format":{"title":"\xff"}',
        b'"tools":[{"function":{"name":"f","parameters":{"title":"\xff"}}}]',
        b'"messages":[{"role":"assistant",'
        b'"tool_calls":[{"function":{"name":"f","arguments":{"a":"\xff"}}}]}]',
    ],
    ids=["format", "tools", "arguments"],
)
def test_bytes_that_are_no_text_are_refused_also_inside_of_what_is_passed_on(more: bytes):
    call = Call(route("POST", "/api/chat"), {}, {}, {}, b'{"model":"m",' + more + b"}")
    with pytest.raises(InvalidRequestError, match="not valid JSON"):
        DIALECT.parse(call)


def test_wrong_messages_are_named():
    for said, param in [
        ({"role": "robot", "content": "x"}, "messages[1].role"),
        ({"role": "user", "images": ["QUJD"]}, "messages[1].images[0]"),
        ({"role": "user", "content": 3}, "messages[1].content"),
    ]:
        with pytest.raises(InvalidRequestError) as caught:
            request("/api/chat", messages=[{"role": "user", "content": "x"}, said])
        assert caught.value.param == param


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/api/pull", {}, "model"),
        ("/api/show", {"model": ""}, "model"),
        ("/api/copy", {"source": "a"}, "destination"),
        ("/api/copy", {"source": "", "destination": "b"}, "source"),
        ("/api/create", {"model": "a"}, "from"),
        ("/api/create", {"model": "a", "files": {"f": "sha256:12"}}, "files.f"),
        ("/api/create", {"model": "a", "from": "b", "quantize": "q4_K_M"}, "quantize"),
        ("/api/create", {"model": "a", "modelfile": "FROM x"}, "modelfile"),
        ("/api/create", {"model": "a", "from": "b", "adapters": {"x": "y"}}, "adapters"),
        ("/api/embed", {"input": "x"}, "model"),
        ("/api/embed", {"model": "m", "input": [1]}, "input[0]"),
        ("/api/embeddings", {"model": "m", "prompt": []}, "prompt"),
    ],
)
def test_wrong_fields_of_the_other_routes_are_named(path: str, body: object, param: str):
    with pytest.raises(InvalidRequestError) as caught:
        parsed(path, body)
    assert caught.value.param == param


def test_what_no_model_is_made_of_is_refused_as_unsupported():
    with pytest.raises(UnsupportedParameterError, match="quantize"):
        parsed("/api/create", {"model": "a", "from": "b", "quantize": "q4_K_M"})


@pytest.mark.parametrize(("said", "ignored"), [(True, ("verbose",)), (False, ()), (None, ())])
def test_more_than_a_model_tells_is_a_hint(said: bool | None, ignored: tuple[str, ...]):
    asked = parsed("/api/show", {"model": "x", "verbose": said})
    assert isinstance(asked, Query)
    assert (asked.name, asked.ignored) == ("x", ignored)


def test_a_created_models_parameters_may_be_truths():
    found = parsed("/api/create", {"model": "x", "from": "y", "parameters": {"use_mmap": True}})
    assert isinstance(found, Request)
    assert found.work is not None
    assert found.work.parameters == {"use_mmap": True}
    # As the head of its stream it is read back from the log.
    assert door.decode(door.encode(found), Request, InvalidRequestError) == found


def test_nothing_is_pushed():
    with pytest.raises(ModalityError):
        parsed("/api/push", {"model": "me/mine"})


@pytest.mark.parametrize("digest", ["sha256:" + "a" * 64, "sha256-" + "a" * 64])
def test_blobs_are_named_by_their_digest(digest: str):
    for method in ("HEAD", "POST"):
        place = route(method, "/api/blobs/{digest}")
        found = DIALECT.parse(Call(place, {"digest": digest}, {}, {}, b""))
        assert isinstance(found, Query)
        assert found.ask == BlobAsk("a" * 64)


@pytest.mark.parametrize(
    "digest", ["a" * 64, "sha256:abc", "sha256:" + "A" * 64, "md5:" + "a" * 64]
)
def test_other_names_of_blobs_are_refused(digest: str):
    with pytest.raises(InvalidRequestError) as caught:
        DIALECT.parse(Call(route("HEAD", "/api/blobs/{digest}"), {"digest": digest}, {}, {}, b""))
    assert caught.value.param == "digest"


# ── how it is answered ───────────────────────────────────────────────────────────────────────────


def test_only_a_failed_generate_is_aborted():
    assert DIALECT.opening(request("/api/generate", prompt="x")).abort_on_failure
    chat = request("/api/chat", messages=[{"role": "user", "content": "x"}])
    for asked in (chat, request("/api/pull")):
        opening = DIALECT.opening(asked)
        assert (opening.framing, opening.abort_on_failure) == ("ndjson", False)


def test_times_go_on_with_the_log():
    text = [(ms, ev.TextDelta(part=1, text=str(ms))) for ms in (0, 99, 100, 60_100)]
    told = lines(
        request("/api/generate", prompt="x"), entries(*text, (60_100, ev.Done(reason="stop")))
    )
    assert [line["created_at"] for line in told] == [
        "2024-12-31T23:59:59.900Z",
        "2024-12-31T23:59:59.999Z",
        "2025-01-01T00:00:00.000Z",
        "2025-01-01T00:01:00.000Z",
        "2025-01-01T00:01:00.000Z",
    ]


def test_names_and_texts_are_escaped():
    asked = Request(model='q"\u2028', form="chat")
    told = entries((5, ev.TextDelta(part=1, text='"\\\n\u2028\U0001f600')))
    start = ev.Start(stream=STREAM, asked='q"\u2028', binding="b", model="m", created=0)
    told[0] = ev.Entry(ev.Seq(1), 0, start)
    encoder = DIALECT.encoder(asked)
    (frame,) = [frame for entry in told for frame in encoder.feed(entry)]
    assert frame.data.isascii()
    assert b"\n" not in frame.data
    line = json.loads(frame.data)
    assert line["model"] == 'q"\u2028'
    assert line["message"] == {"role": "assistant", "content": '"\\\n\u2028\U0001f600'}


def test_an_unnamed_model_is_told_by_its_own_name():
    start = ev.Start(stream=STREAM, asked="", binding="b", model="own", created=0)
    told = [ev.Entry(ev.Seq(1), 0, start), ev.Entry(ev.Seq(2), 5, ev.TextDelta(part=1, text="x"))]
    assert lines(Request(form="generate"), told)[0]["model"] == "own"


def test_streamed_and_whole_answers_end_alike():
    usage = ev.Usage(
        input_tokens=3,
        output_tokens=2,
        timings=ev.Timings(load=5, prompt=7_000_000, generation=8_000_000),
    )
    told = entries(
        (4, ev.ReasoningDelta(part=0, text="t")),
        (9, ev.TextDelta(part=1, text="x")),
        (12, usage),
        (12, ev.Done(reason="length")),
    )
    for asked in (request("/api/generate", prompt="x"), Request(model="m", form="chat")):
        last = lines(asked, told)[-1]
        whole = json.loads(DIALECT.whole(asked, fold(told)).body)
        figures = {k: v for k, v in whole.items() if k.endswith(("_duration", "_count", "_reason"))}
        assert figures == {k: last[k] for k in figures}
        # More than the log's 12 ms: the engine's own times are finer.
        assert figures["total_duration"] == 15_000_005
        assert figures["done_reason"] == "length"


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("told", "logprobs"),
    [
        (
            b'[{"token":"a","logprob":-0.5,"bytes":null,"top_logprobs":null}]',
            [{"token": "a", "logprob": -0.5}],
        ),
        (b'[{"token":"a","logprob":null}]', None),
        (b"null", None),
    ],
)
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_log_probabilities_that_an_upstream_got_wrong_cost_no_text(
    path: str, told: bytes, logprobs: object
):
    more = {"prompt": "x"} if path == "/api/generate" else {"messages": SAID}
    asked = request(path, logprobs=True, top_logprobs=2, **more)
    delta = ev.TextDelta(part=1, text="a", logprobs=door.raw(told))
    said = lines(asked, entries((1, delta), (2, ev.Done(reason="stop"))))
    assert said[0].get("response", said[0].get("message", {}).get("content")) == "a"
    assert said[0].get("logprobs") == logprobs
    assert said[-1]["done"]
    reply = fold(entries((1, delta), (2, ev.Done(reason="stop"))))
    assert json.loads(DIALECT.whole(asked, reply).body).get("logprobs") == logprobs


def test_no_run_that_failed_is_a_5xx_that_clients_send_again():
    for cls in error_classes():
        error = from_code(cls.code, "what went wrong")
        status = DIALECT.error(error).status
        # Nothing has begun yet where the engine is down or the log can't be written.
        assert status not in (500, 502, 504), cls
        assert status != 503 or cls.status == 503
    assert DIALECT.error(InternalError("before a run")).status == 500


# ── models ───────────────────────────────────────────────────────────────────────────────────────


CARD = ModelCard(
    name="demo:latest",
    binding="b",
    modified=1_735_689_600,
    size=7,
    quantization="Q8_0",
    format="gguf",
    family="llama",
    parameter_size="8.0B",
)


def answered(operation: Any, **more: Any) -> Any:
    answer = DIALECT.answer(Found(query=Query(operation), **more))
    assert answer.status == 200
    return json.loads(answer.body)


def test_models_are_listed():
    (one, two) = answered("models", models=(CARD, ModelCard(name="cloud", binding="c")))["models"]
    assert one.pop("digest") != two.pop("digest")
    details = {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "8.0B",
        "quantization_level": "Q8_0",
    }
    assert one == {
        "name": "demo:latest",
        "model": "demo:latest",
        "modified_at": "2025-01-01T00:00:00.000Z",
        "size": 7,
        "details": details,
    }
    assert (two["name"], two["size"], two["modified_at"]) == ("cloud", 0, "0001-01-01T00:00:00Z")
    loaded = LoadedModel(card=CARD, size=9, gpu_size=8, context=4096, until=1_735_689_660)
    (running, forever) = answered("loaded_models", loaded=(loaded, LoadedModel(card=CARD)))[
        "models"
    ]
    assert running.pop("digest") == forever["digest"]
    assert running == {
        "name": "demo:latest",
        "model": "demo:latest",
        "size": 9,
        "details": details,
        "expires_at": "2025-01-01T00:01:00.000Z",
        "size_vram": 8,
        "context_length": 4096,
    }
    assert forever["expires_at"].startswith("9999")


def test_a_digest_is_the_files_where_it_is_known_and_else_stays_the_same():
    unknown, known = CARD, msgspec.structs.replace(CARD, digest="ab" * 32)
    alias = msgspec.structs.replace(unknown, name="other", alias_of=CARD.name)
    another = msgspec.structs.replace(unknown, size=8)
    listed = answered("models", models=(unknown, known, alias, another))["models"]
    said = [one["digest"] for one in listed]
    assert said[1] == "ab" * 32
    assert said[0] == said[2] != said[3]
    assert all(len(one) == 64 and int(one, 16) for one in said)
    again = answered("loaded_models", loaded=(LoadedModel(card=unknown),))["models"]
    assert again[0]["digest"] == said[0]


def test_a_model_is_shown():
    about = ModelDetails(
        card=CARD,
        template="{{ x }}",
        system="Be brief.",
        license="MIT",
        parameters={"temperature": 0.5, "stop": ("<|a|>", "b")},
        metadata={"general.architecture": "llama", "llama.context_length": 8192},
        capabilities=("completion", "tools"),
    )
    shown = answered("model_details", details=about)
    assert shown["model_info"] == {"general.architecture": "llama", "llama.context_length": 8192}
    assert shown["capabilities"] == ["completion", "tools"]
    assert (shown["license"], shown["system"], shown["template"]) == ("MIT", "Be brief.", "{{ x }}")
    # As github.com/ollama/ollama, docs/api.md, "Show Model Information" has it.
    assert shown["parameters"].splitlines() == [
        "temperature                    0.5",
        'stop                           "<|a|>"',
        'stop                           "b"',
    ]
    assert shown["modelfile"].splitlines()[:3] == [
        "FROM demo:latest",
        'TEMPLATE """{{ x }}"""',
        'SYSTEM """Be brief."""',
    ]
    assert 'PARAMETER stop                           "b"' in shown["modelfile"]


def test_what_the_store_did_is_an_empty_answer():
    for operation, status in (("delete_model", 200), ("copy_model", 200), ("put_blob", 201)):
        answer = DIALECT.answer(Found(query=Query(operation)))  # type: ignore[arg-type]
        assert (answer.status, answer.body) == (status, b"")
    assert DIALECT.answer(Found(query=Query("has_blob"), exists=True)).status == 200
    assert DIALECT.answer(Found(query=Query("has_blob"), exists=False)).status == 404


# ── the released client ──────────────────────────────────────────────────────────────────────────


STREAMED = [v for v in dialect_vectors(ROOT, "ollama") if v.read("response.body")]


def reading(body: bytes) -> ollama.Client:
    """A client whose server has one answer, with heartbeats, cut into pieces of seven bytes."""
    body = body.replace(b"\n", b"\n  ").rstrip(b" ")

    def pieces() -> Iterator[bytes]:
        yield from (body[n : n + 7] for n in range(0, len(body), 7))

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(
            200, headers={"content-type": "application/x-ndjson"}, content=pieces()
        )

    return ollama.Client(host="http://x", transport=httpx.MockTransport(answer))


@pytest.mark.parametrize("vector", STREAMED, ids=str)
def test_ollama_python_reads_what_was_said(vector: DialectVector):
    reply = fold(vector.entries())
    # Another dialect's stream is told as a chat.
    form = vector.request(DIALECT).form or "chat"
    text, thoughts, calls, failure = "", "", [], None
    parts: list[Any] = []
    with reading(vector.read("response.body") or b"") as client:
        stream: Any = {
            "generate": lambda: client.generate("m", "x", stream=True),
            "chat": lambda: client.chat("m", [], stream=True),
            "pull": lambda: client.pull("m", stream=True),
        }[form]()
        try:
            parts.extend(stream)
        except ollama.ResponseError as error:
            failure = error.error
    expected = reply.failed.message if reply.failed else None
    assert failure == expected or (expected and failure and expected in failure)
    if form == "pull":
        assert all(part.status for part in parts)
        return
    for part in parts:
        said = part.message if form == "chat" else part
        text += (said.content if form == "chat" else said.response) or ""
        thoughts += said.thinking or ""
        calls += [c.function.name for c in getattr(said, "tool_calls", None) or ()]
    if reply.failed is None:
        assert (text, thoughts) == (reply.first.text, reply.first.reasoning)
        assert parts[-1].done is True
        cut = reply.first.reason == "cancelled"
        assert calls == ([] if cut else [call.name for call in reply.first.tool_calls])
        if reply.usage is not None:
            assert parts[-1].eval_count == reply.usage.output_tokens
    assert not any(part.done for part in parts[:-1])
