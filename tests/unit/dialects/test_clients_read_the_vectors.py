"""Released clients read the golden bytes: a vector that they can't read is wrong."""

from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import openai
import pytest
import sseclient
from msgspec import UNSET

from penstock.core import events as ev
from penstock.core.errors import ConfigError
from penstock.core.folding import fold
from penstock.testing import pictures
from penstock.testing.cases import DialectVector, dialect_vectors
from penstock.wire import json
from penstock.wire.pictures import base64

ROOT = Path(__file__).parents[2] / "vectors"


def with_streams(dialect: str) -> list[DialectVector]:
    return [v for v in dialect_vectors(ROOT, dialect) if v.read("response.body")]


def answered(vector: DialectVector) -> openai.OpenAI:
    """A client whose server has one answer, the vector's stream."""
    return replying(vector.read("response.body") or b"", "text/event-stream")


def replying(body: bytes, media_type: str) -> openai.OpenAI:
    """A client whose server has one answer, cut into pieces of seven bytes."""

    def pieces() -> Iterator[bytes]:
        yield from (body[n : n + 7] for n in range(0, len(body), 7))

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": media_type}, content=pieces())

    http = httpx.Client(transport=httpx.MockTransport(answer))
    return openai.OpenAI(api_key="k", base_url="http://x/v1", http_client=http, max_retries=0)


@pytest.mark.parametrize("vector", with_streams("openai_chat"), ids=str)
def test_openai_python_reads_what_was_said(vector: DialectVector):
    reply = fold(vector.entries())
    text, thoughts, arguments, tokens = "", "", "", None
    failure = None
    with answered(vector) as client:
        stream = client.chat.completions.create(model="m", messages=[], stream=True)
        try:
            for chunk in stream:
                tokens = chunk.usage.total_tokens if chunk.usage else tokens
                for choice in chunk.choices:
                    delta = choice.delta
                    text += delta.content or ""
                    thoughts += (delta.model_extra or {}).get("reasoning_content") or ""
                    for call in delta.tool_calls or []:
                        assert call.function is not None
                        arguments += call.function.arguments or ""
        except openai.APIError as error:
            failure = error.message
    deltas = [entry.event for entry in vector.entries()]
    assert text == "".join(e.text for e in deltas if isinstance(e, ev.TextDelta))
    assert thoughts == reply.first.reasoning
    assert arguments == "".join(e.arguments for e in deltas if isinstance(e, ev.ToolCallDelta))
    assert failure == (reply.failed.message if reply.failed else None)
    if tokens is not None and reply.usage:
        assert tokens == reply.usage.input_tokens + reply.usage.output_tokens


TEXTS = [v for v in with_streams("openai_completions") if v.folder.name != "messages"]


@pytest.mark.parametrize("vector", TEXTS, ids=str)
def test_openai_python_reads_what_was_completed(vector: DialectVector):
    texts: dict[int, str] = {}
    tokens: list[str] = []
    failure = None
    with answered(vector) as client:
        stream = client.completions.create(model="m", prompt="", stream=True)
        try:
            for chunk in stream:
                for choice in chunk.choices:
                    texts[choice.index] = texts.get(choice.index, "") + choice.text
                    tokens += (choice.logprobs.tokens if choice.logprobs else None) or []
        except openai.APIError as error:
            failure = error.message
    deltas = [e.event for e in vector.entries() if isinstance(e.event, ev.TextDelta)]
    echo = "One, two" if "echo" in str(vector) else ""
    for n, text in texts.items():
        assert text == echo + "".join(delta.text for delta in deltas if delta.choice == n)
    assert bool(tokens) == any(delta.logprobs is not UNSET for delta in deltas)
    reply = fold(vector.entries())
    assert failure == (reply.failed.message if reply.failed else None)


def test_openai_python_reads_vectors_in_both_encodings():
    read: dict[str, list[list[float]]] = {}
    for vector in dialect_vectors(ROOT, "openai_embeddings"):
        answer = vector.read("answer.json") or b""
        with replying(answer, "application/json") as client:
            found = client.embeddings.create(model="m", input="x")
        read[vector.folder.name] = [one.embedding for one in found.data]
        assert found.usage.prompt_tokens == found.usage.total_tokens
    assert read["base64"] == [[0.5, -1.0]]
    assert read["langchain"] == [[0.5], [-1.0]]
    assert read["documented"] == [[0.0023064255, -0.009327292, -0.0028842222]]


OWN_IMAGES = [v for v in with_streams("openai_images") if v.read("elsewhere.json") is None]


@pytest.mark.parametrize("vector", OWN_IMAGES, ids=str)
def test_openai_python_reads_what_was_drawn(vector: DialectVector):
    finished: list[str] = []
    partial: list[str] = []
    failure = None
    with answered(vector) as client:
        stream = client.images.generate(model="m", prompt="x", stream=True)
        try:
            for event in stream:
                data = event.b64_json or (event.model_extra or {})["url"]
                if event.type.endswith("completed"):
                    finished.append(data)
                else:
                    partial.append(data)
        except openai.APIError as error:
            failure = error.message
    events = [entry.event for entry in vector.entries()]
    made = [event.blob for event in events if isinstance(event, ev.Image)]
    assert [shown(vector, blob) for blob in made] == finished
    previews = [
        shown(vector, e.preview) for e in events if isinstance(e, ev.Progress) and e.preview
    ]
    assert set(partial) <= set(previews)
    failed = fold(vector.entries()).failed
    assert (failure is not None) == (failed is not None or not finished)
    if failed is not None:
        assert failure == failed.message


def shown(vector: DialectVector, blob: ev.Blob) -> str:
    """What a client gets of a picture; the address where that was asked for."""
    body = (vector.read("response.body") or b"") + (vector.read("whole.json") or b"")
    address = pictures.ADDRESS.format(sha256=blob.sha256)
    if address.encode() in body:
        return address
    file = vector.folder / "blobs" / blob.sha256
    return base64(file.read_bytes()).decode() if file.exists() else ""


WHOLE_IMAGES = [v for v in dialect_vectors(ROOT, "openai_images") if v.read("whole.json")]


@pytest.mark.parametrize("vector", WHOLE_IMAGES, ids=str)
def test_openai_python_reads_whole_answers_with_pictures(vector: DialectVector):
    with replying(vector.read("whole.json") or b"", "application/json") as client:
        found = client.images.generate(model="m", prompt="x")
    made = [e.event.blob for e in vector.entries() if isinstance(e.event, ev.Image)]
    assert [one.b64_json or one.url for one in found.data or []] == [
        shown(vector, blob) for blob in made
    ]
    usage = fold(vector.entries()).usage
    if found.usage is not None:
        assert usage is not None
        assert found.usage.total_tokens == usage.input_tokens + usage.output_tokens


@pytest.mark.parametrize("vector", with_streams("lollms"), ids=str)
def test_sseclient_reads_what_was_said(vector: DialectVector):
    body = vector.read("response.body") or b""
    messages = list(sseclient.SSEClient(iter([body])).events())
    assert {message.event for message in messages} == {"message"}
    frames = [json.decode(message.data, dict[str, object], ConfigError) for message in messages]
    assert all(set(f) == {"type", "content", "thoughts", "metadata"} for f in frames)
    assert [f["type"] for f in frames].index("final") == len(frames) - 1
    said = [str(f["content"]) for f in frames if f["type"] == "chunk" and f["content"]]
    items = frames[-1]["content"]
    assert isinstance(items, list)
    assert "".join(said) == "".join(item["data"] for item in items if item["type"] == "text")


@pytest.mark.parametrize("vector", with_streams("lollms"), ids=str)
def test_the_web_pages_parser_reads_every_block(vector: DialectVector):
    """It splits at blank lines; a block must begin with `data:` and hold one line of JSON."""
    body = (vector.read("response.body") or b"").decode()
    blocks = body.split("\n\n")
    assert blocks.pop() == ""
    for block in blocks:
        assert block.startswith("data:")
        assert json.is_json(block[5:].strip())
