"""The released `openai` client, through Penstock, on upstreams that say what the demo can't."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
from tests.integration.serving import END, ROOT, SSE_HEAD, Upstream, piece, serve

DONE = piece(b"data: [DONE]\n\n")


def chunk(*choices: dict[str, object], **more: object) -> bytes:
    """One chunk of an OpenAI upstream."""
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}
    return piece(b"data: " + json.dumps(body | {"choices": choices} | more).encode() + b"\n\n")


def choice(index: int = 0, finish: str | None = None, **delta: object) -> dict[str, object]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


@contextmanager
def client_of(folder: Path, *script: bytes | float | str) -> Iterator[openai.OpenAI]:
    upstream = Upstream([script])
    config = f'[bindings.up]\nengine = "openai"\nurl = "{upstream.url}"\nmodel = "scripted"\n'
    try:
        with (
            serve(folder, config) as serving,
            openai.OpenAI(base_url=serving.url + "/v1", api_key="none", max_retries=0) as client,
        ):
            yield client
    finally:
        upstream.close()


def refused(status: str, body: object, *headers: str) -> bytes:
    data = json.dumps(body).encode()
    head = [f"HTTP/1.1 {status}", "content-type: application/json", "connection: close", *headers]
    head.append(f"content-length: {len(data)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + data


ASKED: dict[str, Any] = {"model": "scripted", "messages": [{"role": "user", "content": "Hi"}]}


def test_reasoning_and_its_tokens_come_through(tmp_path: Path):
    script = (
        SSE_HEAD,
        chunk(choice(reasoning_content="9.11 or ")),
        chunk(choice(reasoning_content="9.8?")),
        chunk(choice(content="9.8")),
        chunk(choice(finish="stop")),
        chunk(
            usage={
                "prompt_tokens": 3,
                "completion_tokens": 9,
                "total_tokens": 12,
                "completion_tokens_details": {"reasoning_tokens": 7},
            }
        ),
        DONE,
        END,
    )
    with client_of(tmp_path, *script) as client:
        whole = client.chat.completions.create(**ASKED)
        usage: Any = {"include_usage": True}
        chunks = list(client.chat.completions.create(**ASKED, stream=True, stream_options=usage))
    assert whole.choices[0].message.content == "9.8"
    assert (whole.choices[0].message.model_extra or {})["reasoning_content"] == "9.11 or 9.8?"
    deltas = [c.choices[0].delta for c in chunks if c.choices]
    thoughts = [(d.model_extra or {}).get("reasoning_content") or "" for d in deltas]
    assert "".join(thoughts) == "9.11 or 9.8?"
    for counts in (whole.usage, chunks[-1].usage):
        assert counts is not None
        assert counts.completion_tokens_details is not None
        assert counts.completion_tokens_details.reasoning_tokens == 7
        assert (counts.model_extra or {})["reasoning_tokens"] == 7
        assert "tokens_per_second" not in (counts.model_extra or {})
    assert (chunks[0].model_extra or {})["backend"] == {
        "machine_name": "up",
        "engine_type": "openai",
    }
    assert all("backend" not in (c.model_extra or {}) for c in chunks[1:])


def test_a_refusal_is_the_answers_text(tmp_path: Path):
    script = (SSE_HEAD, chunk(choice(refusal="I can't.")), chunk(choice(finish="stop")), DONE, END)
    with client_of(tmp_path, *script) as client:
        assert client.chat.completions.create(**ASKED).choices[0].message.content == "I can't."


def test_a_filtered_answer_says_so(tmp_path: Path):
    script = (SSE_HEAD, chunk(choice(content="We")), chunk(choice(finish="content_filter")), END)
    with client_of(tmp_path, *script) as client:
        whole = client.chat.completions.create(**ASKED)
        chunks = list(client.chat.completions.create(**ASKED, stream=True))
        with pytest.raises(openai.ContentFilterFinishReasonError):
            client.chat.completions.parse(**ASKED)
    assert whole.choices[0].finish_reason == "content_filter"
    assert chunks[-1].choices[0].finish_reason == "content_filter"


def test_three_choices_come_apart_streamed_and_whole(tmp_path: Path):
    call = {"index": 0, "id": "call_1", "type": "function"}
    script = (
        SSE_HEAD,
        chunk(choice(1, content="one ")),
        chunk(choice(0, content="zero"), choice(1, content="more")),
        chunk(choice(2, tool_calls=[call | {"function": {"name": "f", "arguments": '{"a"'}}])),
        chunk(choice(1, finish="stop")),
        chunk(choice(2, tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}])),
        chunk(choice(2, finish="tool_calls"), choice(0, finish="stop")),
        DONE,
        END,
    )
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {}}}
    with client_of(tmp_path, *script) as client:
        whole = client.chat.completions.create(**ASKED, n=3, tools=[tool])
        with client.chat.completions.stream(**ASKED, n=3, tools=[tool]) as stream:
            last = [
                (c.choices[0].index, c.choices[0].finish_reason)
                for c in (event.chunk for event in stream if event.type == "chunk")
                if c.choices[0].finish_reason
            ]
            streamed = stream.get_final_completion()
    assert last == [(1, "stop"), (2, "tool_calls"), (0, "stop")]
    for found in (whole.choices, streamed.choices):
        assert [one.index for one in found] == [0, 1, 2]
        assert [one.finish_reason for one in found] == ["stop", "stop", "tool_calls"]
        assert [one.message.content for one in found[:2]] == ["zero", "one more"]
        calls = found[2].message.tool_calls
        assert calls is not None
        assert calls[0].type == "function"
        assert (calls[0].id, calls[0].function.arguments) == ("call_1", '{"a":1}')


@pytest.mark.parametrize(
    "ending",
    [
        (piece(b'data: {"error":{"message":"out of memory","type":"server_error"}}\n\n'), END),
        (END,),
        ("reset",),
    ],
    ids=["error object", "no end", "reset"],
)
def test_a_failure_in_the_middle_is_never_taken_for_success(
    tmp_path: Path, ending: Sequence[bytes | str]
):
    script = (SSE_HEAD, chunk(choice(content="one ")), chunk(choice(content="two")), *ending)
    text = ""
    with client_of(tmp_path, *script) as client:
        stream = client.chat.completions.create(**ASKED, stream=True)
        with pytest.raises((openai.APIError, httpx.HTTPError)):
            for found in stream:
                text += found.choices[0].delta.content or ""
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(**ASKED)
    assert text == "one two"
    assert caught.value.status_code == 502
    assert caught.value.type == "server_error"


@pytest.mark.parametrize(
    ("answer", "kind", "status"),
    [
        (refused("429 Too Many", {"error": {"message": "slow"}}), openai.RateLimitError, 429),
        (refused("500 Broken", {"error": {"message": "oops"}}), openai.InternalServerError, 502),
        (refused("401 No", {"error": {"message": "key"}}), openai.InternalServerError, 502),
    ],
    ids=["429", "500", "401"],
)
def test_an_upstreams_refusal_is_the_clients_exception(
    tmp_path: Path, answer: bytes, kind: type[openai.APIStatusError], status: int
):
    with client_of(tmp_path, answer) as client:
        for stream in (False, True):
            with pytest.raises(kind) as caught:
                client.chat.completions.create(**ASKED, stream=stream)
            assert caught.value.status_code == status
            assert set(caught.value.body or ()) == {"message", "type", "param", "code"}  # type: ignore[call-overload]


def test_a_picture_and_a_schema_go_to_the_upstream_as_they_were(tmp_path: Path):
    script = (SSE_HEAD, chunk(choice(content="{}")), chunk(choice(finish="stop")), DONE, END)
    upstream = Upstream([script])
    config = f'[bindings.up]\nengine = "openai"\nurl = "{upstream.url}"\nmodel = "scripted"\n'
    url = {"url": "data:image/png;base64,AA==", "detail": "original"}
    content: Any = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": url}]
    schema: Any = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "object"}},
    }
    with (
        serve(tmp_path, config) as serving,
        openai.OpenAI(base_url=serving.url + "/v1", api_key="none", max_retries=0) as client,
    ):
        client.chat.completions.create(
            model="scripted",
            messages=[{"role": "user", "content": content}],
            response_format=schema,
            extra_body={"enable_thinking": False},
        )
    upstream.close()
    sent = json.loads(upstream.requests[0].partition(b"\r\n\r\n")[2])
    assert sent["messages"] == [{"role": "user", "content": content}]
    assert sent["response_format"] == schema
    assert sent["reasoning_effort"] == "none"


def test_a_recorded_completion_comes_out_as_it_went_in(tmp_path: Path):
    """Text, log probabilities and offsets of OpenAI's own stream, through engine and dialect."""
    folder = ROOT / "tests/vectors/dialects/openai_completions/recorded_logprobs"
    recorded = (folder / "response.body").read_bytes()
    prompt = json.loads((folder / "request.body").read_text())["prompt"][0]
    upstream = Upstream([(SSE_HEAD, piece(recorded), END)])
    config = f'[bindings.up]\nengine = "openai"\nurl = "{upstream.url}"\nmodel = "scripted"\n'
    asked: dict[str, Any] = {"model": "scripted", "prompt": prompt, "logprobs": 5}
    with (
        serve(tmp_path, config) as serving,
        openai.OpenAI(base_url=serving.url + "/v1", api_key="none", max_retries=0) as client,
    ):
        chunks = list(client.completions.create(**asked, stream=True))
        whole = client.completions.create(**asked).choices[0]
    upstream.close()
    events = [line[6:] for line in recorded.splitlines() if line.startswith(b"data: {")]
    wanted = [json.loads(event)["choices"][0] for event in events]
    found = [one.choices[0].model_dump() for one in chunks]
    assert found == wanted
    assert whole.model_dump() == json.loads((folder / "whole.json").read_text())["choices"][0]
    assert all(request.startswith(b"POST /v1/completions ") for request in upstream.requests)
    sent = json.loads(upstream.requests[0].partition(b"\r\n\r\n")[2])
    assert (sent["prompt"], sent["logprobs"], sent["max_tokens"]) == (prompt, 5, 16)
