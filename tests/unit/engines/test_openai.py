"""The `openai` engine against upstreams that misbehave."""

import asyncio
import gzip
from collections.abc import Sequence
from typing import Literal

import msgspec
import pytest

from penstock.core.errors import (
    BindingDownError,
    ConfigError,
    EngineError,
    EngineProtocolError,
    EngineRefusedError,
    EngineTimeoutError,
    GatewayError,
    InvalidRequestError,
    ModalityError,
    OverloadedError,
    UnknownModelError,
)
from penstock.core.events import Done, Event, Failed, Finish, TextDelta, Usage
from penstock.core.messages import Message, TextPart, say
from penstock.core.ports import Timeouts
from penstock.core.queries import EmbedAsk, Embedded, TokensAsk
from penstock.core.request import Effort, Request, Sampling
from penstock.core.secrets import Secret
from penstock.engines.openai import Config, Engine
from penstock.testing.engines import play, said
from penstock.testing.upstreams import Connection, Script, scripted
from penstock.testing.vectors import REQUEST
from penstock.wire import json

pytestmark = pytest.mark.usefixtures("carrier")

QUICK = Timeouts(connect=1, first_token=2, between_tokens=2)
SSE = ("Content-Type: text/event-stream",)
A = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
END = b"data: [DONE]\n\n"
ANSWER = [TextDelta(part=1, text="a"), Done(reason="stop")]


def sending(*pieces: bytes, headers: Sequence[str] = SSE) -> Script:
    async def script(connection: Connection) -> None:
        await connection.answer(headers=headers)
        for piece in pieces:
            await connection.send(piece)

    return script


def answering(status: str, body: bytes = b"", headers: Sequence[str] = ()) -> Script:
    async def script(connection: Connection) -> None:
        await connection.answer(status, headers, body)

    return script


async def heard(script: Script, config: Config | None = None) -> list[Event]:
    async with scripted(script) as upstream:
        engine = Engine(Config(url=upstream.url) if config is None else config, QUICK)
        try:
            return said(await play(engine, REQUEST))
        finally:
            await engine.aclose()


async def refused(script: Script, key: str = "sk-secret") -> GatewayError:
    async with scripted(script) as upstream:
        engine = Engine(Config(url=upstream.url, key=Secret(key)), QUICK)
        with pytest.raises(GatewayError) as caught:
            await play(engine, REQUEST)
        await engine.aclose()
        return caught.value


async def test_without_done() -> None:
    assert await heard(sending(A, STOP)) == ANSWER


async def test_without_an_end() -> None:
    (*_, end) = await heard(sending(A))
    assert isinstance(end, Failed)
    assert end.code == "engine_protocol"


async def test_nothing_after_done_is_read() -> None:
    assert await heard(sending(A, STOP, END, A, b"garbage")) == ANSWER


async def test_heartbeats_say_nothing() -> None:
    async def script(connection: Connection) -> None:
        await connection.answer(headers=SSE)
        for piece in (b": ping\n\n", A, b": ping\n\n", STOP, END):
            await connection.send(piece)
            await asyncio.sleep(0.01)

    async with scripted(script) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        batches = await play(engine, REQUEST)
        await engine.aclose()
    assert batches[0] == ()
    assert all(batches[1:])
    assert said(batches) == ANSWER


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"error":{"message":"no luck"}}\n\n',
        b'event: error\ndata: {"message":"no luck"}\n\n',
        b"event: error\ndata: no luck\n\n",
    ],
)
async def test_an_error_within_the_stream(event: bytes) -> None:
    first, end = await heard(sending(A, event, END))
    assert first == ANSWER[0]
    assert isinstance(end, Failed)
    assert "no luck" in end.message


async def test_garbage_within_the_stream() -> None:
    _, end = await heard(sending(A, b"data: {nonsense}\n\n", STOP, END))
    assert isinstance(end, Failed)
    assert end.code == "engine_protocol"
    assert "nonsense" not in end.message


async def test_a_reset_keeps_what_came_before_it() -> None:
    async def script(connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        await connection.send(b"Transfer-Encoding: chunked\r\n\r\n")
        await connection.send(b"%x\r\n%s\r\n" % (len(A), A))
        await asyncio.sleep(0.05)
        connection.reset()

    async with scripted(script) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        stream = engine.stream(REQUEST)
        assert await anext(stream) == ()
        assert await anext(stream) == ANSWER[:1]
        with pytest.raises(EngineError):
            await anext(stream)
        await engine.aclose()


@pytest.mark.parametrize("pieces", [(A, STOP), (A + STOP,)])
async def test_a_connection_that_breaks_after_the_last_word(pieces: tuple[bytes, ...]) -> None:
    async def script(connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        await connection.send(b"Transfer-Encoding: chunked\r\n\r\n")
        # The last piece and the end of the connection arrive together, in the middle of a body.
        await connection.send(b"".join([b"%x\r\n%s\r\n" % (len(p), p) for p in pieces]))

    assert await heard(script) == ANSWER


async def test_what_came_with_the_break_is_read_by_a_slow_reader() -> None:
    async def script(connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        await connection.send(b"Transfer-Encoding: chunked\r\n\r\n")
        await connection.send(b"%x\r\n%s\r\n" % (len(A + STOP), A + STOP))

    async with scripted(script) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        stream = engine.stream(REQUEST)
        assert await anext(stream) == ()
        await asyncio.sleep(0.1)  # data and break arrive while nobody reads
        assert [event async for batch in stream for event in batch] == ANSWER
        await engine.aclose()


async def test_a_whole_answer() -> None:
    body = b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}'
    kind = ("Content-Type: application/json",)
    assert await heard(sending(body, headers=kind)) == ANSWER
    assert await heard(sending(b"  \n", body[:9], body[9:], headers=kind)) == ANSWER
    assert await heard(sending(body)) == ANSWER  # declared as a stream


async def test_a_stream_declared_as_json() -> None:
    assert await heard(sending(A, STOP, headers=("Content-Type: application/json",))) == ANSWER


async def test_a_compressed_answer() -> None:
    body = gzip.compress(A + STOP + END)
    headers = (*SSE, "Content-Encoding: gzip")
    assert await heard(sending(body[:20], body[20:], headers=headers)) == ANSWER


async def test_an_answer_that_is_not_compressed_as_it_says() -> None:
    error = await refused(sending(A, headers=(*SSE, "Content-Encoding: gzip")))
    assert isinstance(error, EngineError)


async def test_a_huge_line() -> None:
    long = b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % (b"x" * 300_000)
    first, end = await heard(sending(long[:100_000], long[100_000:], STOP, END))
    assert isinstance(first, TextDelta)
    assert len(first.text) == 300_000
    assert end == Done(reason="stop")


async def test_an_endless_line() -> None:
    async def script(connection: Connection) -> None:
        await connection.answer(headers=SSE)
        while not connection.closed.is_set():
            await connection.send(b"x" * 1_000_000)

    assert isinstance(await refused(script), EngineProtocolError)


async def test_a_web_page() -> None:
    error = await refused(sending(b"<html>", headers=("Content-Type: text/html",)))
    assert "`url`" in error.message


async def test_no_http_at_all() -> None:
    async def script(connection: Connection) -> None:
        await connection.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    assert isinstance(await refused(script), EngineError)


async def test_silence_before_the_headers_ends() -> None:
    async def script(connection: Connection) -> None:
        await connection.closed.wait()

    assert isinstance(await refused(script), EngineTimeoutError)


async def test_too_many_requests() -> None:
    body = b'{"error":{"message":"slow down sk-secret","type":"rate_limit_error"}}'
    error = await refused(answering("429 Too Many Requests", body, ["Retry-After: 7"]))
    assert isinstance(error, OverloadedError)
    assert error.retry_after == 7
    assert "slow down ***" in error.message


async def test_a_redirect_is_not_followed() -> None:
    async def elsewhere(connection: Connection) -> None:
        await connection.answer(headers=SSE, body=A + STOP)

    async with scripted(elsewhere) as other:
        headers = [f"Location: {other.url}/v1/chat/completions"]
        error = await refused(answering("307 Temporary Redirect", headers=headers))
        assert other.connections == []
    assert isinstance(error, EngineRefusedError)
    assert "redirects" in error.message


async def test_a_wrong_key_is_not_shown() -> None:
    body = b'{"error":{"message":"Incorrect API key provided: sk-secret"}}'
    error = await refused(answering("401 Unauthorized", body))
    assert isinstance(error, EngineRefusedError)
    assert "sk-secret" not in error.message


async def test_an_unknown_model() -> None:
    body = b'{"error":{"message":"The model `m` does not exist"}}'
    assert isinstance(await refused(answering("404 Not Found", body)), UnknownModelError)


async def test_an_error_body_without_end_is_read_up_to_a_bound() -> None:
    async def script(connection: Connection) -> None:
        await connection.answer("500 Internal Server Error")
        while not connection.closed.is_set():
            await connection.send(b"x" * 100_000)

    assert len((await refused(script)).message) < 1000


async def test_closing_the_stream_closes_the_connection() -> None:
    async def script(connection: Connection) -> None:
        await connection.answer(headers=SSE)
        await connection.send(A)
        await connection.closed.wait()

    async with scripted(script) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        stream = engine.stream(REQUEST)
        assert await anext(stream) == ()
        assert await anext(stream) == ANSWER[:1]
        await stream.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(0.1):
            await upstream.connections[0].closed.wait()
        await engine.aclose()


async def test_a_finished_connection_is_used_again() -> None:
    body = A + STOP + END
    served = 0

    async def script(connection: Connection) -> None:
        nonlocal served
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        served += 1
        await connection.send(head + b"%x\r\n%s\r\n" % (len(body), body))
        await asyncio.sleep(0.01)
        await connection.send(b"0\r\n\r\n")
        await connection.closed.wait()

    async with scripted(script) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        await play(engine, REQUEST)
        assert not upstream.connections[0].closed.is_set()
        await engine.aclose()
        async with asyncio.timeout(1):
            await upstream.connections[0].closed.wait()


@pytest.mark.parametrize("kept", [True, False])
async def test_a_kept_connection_that_is_closed_on_us_is_made_anew(kept: bool) -> None:
    body = A + STOP + END
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body

    async def script(connection: Connection) -> None:
        if kept or len(upstream.connections) > 1:
            await connection.send(whole)
            await connection.more.wait()
        # Now it closes without an answer.

    async with scripted(script) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        if kept:
            assert said(await play(engine, REQUEST)) == ANSWER
            assert said(await play(engine, REQUEST)) == ANSWER
            assert len(upstream.connections) == 2
        else:
            with pytest.raises(EngineError, match="closed the connection"):
                await play(engine, REQUEST)
            assert len(upstream.connections) == 1
        await engine.aclose()


async def sent(config: dict[str, object], request: Request) -> tuple[bytes, dict[str, object]]:
    async with scripted(sending(A, STOP)) as upstream:
        url = upstream.url + str(config.pop("path", ""))
        engine = Engine(Config(url=url, **config), QUICK)  # type: ignore[arg-type]
        await play(engine, request)
        await engine.aclose()
        (connection,) = upstream.connections
    body = json.decode(connection.body, dict[str, object], EngineError)
    return connection.head, body


async def test_what_is_sent() -> None:
    config: dict[str, object] = {"key": Secret("sk-1"), "headers": {"X-Extra": Secret("yes")}}
    head, body = await sent(config, REQUEST)
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /v1/chat/completions HTTP/1.1"
    assert b"Authorization: Bearer sk-1" in lines
    assert b"X-Extra: yes" in lines
    assert b"Accept: text/event-stream" in lines
    assert b"Accept-Encoding: identity" in lines
    assert body["model"] == "m"


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", b"/v1/"),
        ("/", b"/v1/"),
        ("/v1", b"/v1/"),
        ("/v1/", b"/v1/"),
        ("/api/v3", b"/api/v3/"),
        ("/v1beta/openai", b"/v1beta/openai/"),
        ("/proxy", b"/proxy/v1/"),
    ],
)
async def test_addresses_with_and_without_a_version(path: str, asked: bytes) -> None:
    head, _ = await sent({"path": path}, REQUEST)
    assert head.startswith(b"POST " + asked + b"chat/completions HTTP")


async def test_what_the_configuration_changes() -> None:
    request = Request(
        messages=(Message(role="assistant", parts=(TextPart("a"),), reasoning="hm"),),
        sampling=Sampling(max_tokens=5, repeat_penalty=1.5),
    )
    config: dict[str, object] = {
        "model": "own",
        "extra_parameters": ("repetition_penalty",),
        "max_tokens_field": "max_completion_tokens",
        "echo_reasoning": False,
    }
    _, body = await sent(config, request)
    assert body["model"] == "own"
    assert body["repetition_penalty"] == 1.5
    assert body["max_completion_tokens"] == 5
    assert body["messages"] == [{"role": "assistant", "content": "a"}]
    assert not {"repeat_penalty", "max_tokens"} & set(body)


def test_extra_parameters_are_supported_only_when_configured() -> None:
    assert "top_k" not in Engine(Config(), QUICK).supports
    config = Config(extra_parameters=("top_k", "repetition_penalty"))
    assert {"top_k", "repeat_penalty"} <= Engine(config, QUICK).supports


async def test_models() -> None:
    body = (
        b'{"data":[{"id":"a","created":5,"max_model_len":9,"aliases":["b","a"]},'
        b'{"id":"c","created":1700000000000,"capabilities":{"multimodal":true},'
        b'"meta":{"n_ctx":7,"size":8}}]}'
    )
    async with scripted(answering("200 OK", body)) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        first, alias, second = await engine.models()
        assert await engine.models() == (first, alias, second)
        assert len(upstream.connections) == 1  # the second time they were known
        await engine.aclose()
    assert (first.name, first.modified, first.context_size) == ("a", 5, 9)
    assert (alias.name, alias.alias_of) == ("b", "a")
    assert (second.name, second.context_size, second.size) == ("c", 7, 8)
    assert second.modified is None  # milliseconds: no listing could say that year
    assert second.inputs == ("text", "image")


@pytest.mark.parametrize(
    ("status", "words"),
    [("401 Unauthorized", "`key`"), ("404 Not Found", "`url`"), ("200 OK", "JSON")],
)
async def test_a_start_that_fails_says_what_to_fix(status: str, words: str) -> None:
    async with scripted(answering(status, b"-")) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        with pytest.raises(BindingDownError, match=words):
            await engine.start()
        await engine.aclose()


async def test_a_server_without_a_list_of_models() -> None:
    async with scripted(answering("404 Not Found")) as upstream:
        engine = Engine(Config(url=upstream.url, model="own"), QUICK)
        assert [card.name for card in await engine.models()] == ["own"]
        await engine.aclose()


async def test_an_upstream_that_never_answers_does_not_hold_the_start() -> None:
    async def script(connection: Connection) -> None:
        await connection.closed.wait()

    async with scripted(script) as upstream:
        engine = Engine(Config(url=upstream.url), Timeouts(connect=0.2))
        async with asyncio.timeout(5):
            with pytest.raises(BindingDownError):
                await engine.start()
        await engine.aclose()


async def test_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are used, but never for this machine itself."""
    async with scripted(sending(A, STOP)) as proxy, scripted(sending(STOP)) as local:
        monkeypatch.setenv("http_proxy", proxy.url)
        for url, expected in (("http://upstream.invalid", ANSWER), (local.url, ANSWER[1:])):
            engine = Engine(Config(url=url), QUICK)
            assert said(await play(engine, REQUEST)) == expected
            await engine.aclose()
        (connection,) = proxy.connections
    assert connection.head.startswith(b"POST http://upstream.invalid/v1/chat/completions ")


async def test_nobody_there() -> None:
    engine = Engine(Config(url="http://127.0.0.1:9"), QUICK)
    with pytest.raises(BindingDownError, match="is it running"):
        await play(engine, REQUEST)
    await engine.aclose()


async def test_no_such_host() -> None:
    engine = Engine(Config(url="http://nowhere.invalid"), QUICK)
    with pytest.raises(GatewayError, match=r"nowhere\.invalid"):
        await play(engine, REQUEST)
    await engine.aclose()


@pytest.mark.parametrize("url", ["", "localhost:1234", "ftp://x", "http://", "http://a..b/v1"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Engine(Config(url=url), QUICK)
    assert caught.value.param == "url"


def test_a_key_that_no_header_can_hold() -> None:
    with pytest.raises(ConfigError) as caught:
        Engine(Config(key=Secret("a\r\nX: y")), QUICK)
    assert caught.value.param == "key"


def test_no_secret_in_a_repr() -> None:
    config = Config(key=Secret("sk-1"), headers={"X": Secret("sk-2")})
    assert "sk-" not in repr(config)


# ── what is asked besides streams ────────────────────────────────────────────────────────────────


async def embedded(body: bytes, texts: tuple[str, ...] = ("a", "b")) -> Embedded:
    async with scripted(answering("200 OK", body)) as upstream:
        engine = Engine(Config(url=upstream.url, model="m"), QUICK)
        try:
            found = await engine.embed(EmbedAsk(texts=texts, dimensions=2))
        finally:
            await engine.aclose()
        (connection,) = upstream.connections
        assert connection.head.startswith(b"POST /v1/embeddings ")
        assert json.decode(connection.body, dict[str, object], EngineError) == {
            "model": "m",
            "input": list(texts),
            "encoding_format": "float",
            "dimensions": 2,
        }
        return found


async def test_vectors_as_in_the_reference() -> None:
    """From "Create embeddings" in OpenAI's API reference, its vector cut to three numbers."""
    found = await embedded(
        b"""{"object": "list", "data": [{"object": "embedding", "embedding": [0.0023064255,
        -0.009327292, -0.0028842222], "index": 0}], "model": "text-embedding-ada-002",
        "usage": {"prompt_tokens": 8, "total_tokens": 8}}""",
        ("a",),
    )
    assert found.vectors == ((0.0023064255, -0.009327292, -0.0028842222),)
    assert found.input_tokens == 8


async def test_vectors_in_base64_and_out_of_order() -> None:
    found = await embedded(
        b'{"data":[{"index":1,"embedding":"AACAPwAAAMA="},{"index":0,"embedding":[3,4]}]}'
    )
    assert found.vectors == ((3.0, 4.0), (1.0, -2.0))


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"data":[{"embedding":[1]}]}', b'{"data":[{"embedding":"AA"},{"embedding":[1]}]}'],
)
async def test_vectors_that_make_no_sense(body: bytes) -> None:
    with pytest.raises(EngineProtocolError):
        await embedded(body)


@pytest.mark.parametrize("status", ["404 Not Found", "405 Method Not Allowed", "501 Nope"])
async def test_a_server_without_vectors_and_tokens(status: str) -> None:
    async with scripted(answering(status, b'{"detail":"Not Found"}')) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        for asked in (
            engine.embed(EmbedAsk(texts=("x",))),
            engine.tokenize(TokensAsk(text="x")),
            engine.detokenize(TokensAsk(tokens=(1,))),
        ):
            with pytest.raises(ModalityError):
                await asked
        await engine.aclose()


async def test_an_unknown_model_is_no_lack_of_the_server() -> None:
    body = b'{"error":{"message":"The model `x` does not exist."}}'
    async with scripted(answering("404 Not Found", body)) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        with pytest.raises(UnknownModelError):
            await engine.embed(EmbedAsk(model="x", texts=("x",)))
        await engine.aclose()


async def test_tokens_of_vllm() -> None:
    """Its names (vllm/entrypoints/openai/protocol.py), at the root, not below `/v1`."""
    answers = {
        b"/tokenize": b'{"count":2,"max_model_len":4096,"tokens":[1,2]}',
        b"/detokenize": b'{"prompt":"Hi"}',
    }

    async def script(connection: Connection) -> None:
        await connection.answer(body=answers[connection.head.split(b" ")[1]])

    async with scripted(script) as upstream:
        engine = Engine(Config(url=upstream.url + "/v1", model="m"), QUICK)
        assert await engine.tokenize(TokensAsk(text="Hi", add_bos=True)) == [1, 2]
        assert await engine.detokenize(TokensAsk(tokens=(1, 2))) == "Hi"
        await engine.aclose()
        sent = json.decode(upstream.connections[0].body, dict[str, object], EngineError)
    assert (sent["model"], sent["prompt"], sent["add_special_tokens"]) == ("m", "Hi", True)


async def test_raw_goes_to_completions() -> None:
    """The chunks are those of "Create completion" in OpenAI's API reference."""
    chunk = (
        b'data: {"id":"cmpl-7iA7iJjj8V2zOkCGvWF2hAkWALZZZ","object":"text_completion",'
        b'"created":1690759702,"choices":[{"text":"This","index":0,"logprobs":null,'
        b'"finish_reason":null}],"model":"gpt-3.5-turbo-instruct",'
        b'"system_fingerprint":"fp_44709d6fcb"}\n\n'
    )
    stop = b'data: {"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}]}\n\n'
    async with scripted(sending(chunk, stop, END)) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        request = Request(
            model="m",
            messages=(say("user", "Say this"),),
            sampling=Sampling(max_tokens=7, stop=("x",), logprobs=True, top_logprobs=2),
            raw=True,
            suffix="end",
        )
        found = said(await play(engine, request))
        await engine.aclose()
        (connection,) = upstream.connections
    assert found == [TextDelta(part=1, text="This"), Done(reason="stop")]
    assert connection.head.startswith(b"POST /v1/completions ")
    assert json.decode(connection.body, dict[str, object], EngineError) == {
        "model": "m",
        "prompt": "Say this",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 7,
        "stop": ["x"],
        "logprobs": 2,
        "suffix": "end",
    }


async def test_the_parallel_lists_of_completions_become_one_object_a_token() -> None:
    lists = (
        b'data: {"choices":[{"text":"Hi!","index":0,"logprobs":{"tokens":["Hi","!"],'
        b'"token_logprobs":[null,-0.5],"top_logprobs":[null,{"!":-0.5,"?":-2.0}],'
        b'"text_offset":[0,2]},"finish_reason":"stop"}]}\n\n'
    )
    request = Request(messages=(say("user", "x"),), raw=True)
    async with scripted(sending(lists, END)) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        delta, _ = said(await play(engine, request))
        await engine.aclose()
    assert isinstance(delta, TextDelta)
    assert isinstance(delta.logprobs, msgspec.Raw)
    assert json.decode(bytes(delta.logprobs), object, EngineError) == [
        {
            "token": "!",
            "logprob": -0.5,
            "bytes": [33],
            "top_logprobs": [
                {"token": "!", "logprob": -0.5, "bytes": [33]},
                {"token": "?", "logprob": -2.0, "bytes": [63]},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("field", "effort", "expected"),
    [
        ("reasoning_effort", "none", {"reasoning_effort": "none"}),
        ("chat_template_kwargs", "none", {"chat_template_kwargs": {"enable_thinking": False}}),
        (
            "chat_template_kwargs",
            "high",
            {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "high"},
        ),
    ],
)
async def test_effort_in_the_field_that_the_server_has(
    field: Literal["reasoning_effort", "chat_template_kwargs"],
    effort: Effort,
    expected: dict[str, object],
) -> None:
    async with scripted(sending(A, STOP, END)) as upstream:
        engine = Engine(Config(url=upstream.url, effort_field=field), QUICK)
        await play(engine, Request(messages=(say("user", "x"),), effort=effort))
        await engine.aclose()
        sent = json.decode(upstream.connections[0].body, dict[str, object], EngineError)
    assert {name: sent[name] for name in sent if name in expected} == expected
    assert len({"reasoning_effort", "chat_template_kwargs"} & sent.keys()) == len(expected)


def test_a_suffix_only_where_it_is_not_dropped() -> None:
    """llama-server takes one and ignores it."""
    url = "http://127.0.0.1:1"
    assert "suffix" not in Engine(Config(url=url), QUICK).supports
    assert "suffix" in Engine(Config(url=url, extra_parameters=("suffix",)), QUICK).supports
    assert "suffix" in Engine(Config(), QUICK).supports


def thoughtless(said: str) -> Script:
    """A model that knows no effort, as a cloud's that thinks about nothing."""

    async def script(connection: Connection) -> None:
        if b"reasoning_effort" in connection.body:
            body = json.encode({"error": {"message": said, "param": None}})
            await connection.answer("400 Bad Request", (), body)
        else:
            await connection.answer(headers=SSE)
            await connection.send(A + STOP + END)

    return script


async def test_a_hint_that_a_model_refuses_breaks_no_request() -> None:
    hinted = msgspec.structs.replace(REQUEST, effort="none", effort_hint="enable_thinking")
    async with scripted(thoughtless("Unrecognized argument: reasoning_effort")) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        for _ in range(2):
            assert said(await play(engine, hinted)) == ANSWER
        asked = [b"reasoning_effort" in one.body for one in upstream.connections]
        assert asked == [True, False, False]  # It is told only once.
        with pytest.raises(InvalidRequestError, match="reasoning_effort"):
            await play(engine, msgspec.structs.replace(hinted, effort_hint=""))
        await engine.aclose()


async def test_what_else_is_wrong_with_a_hinted_request_is_told() -> None:
    hinted = msgspec.structs.replace(REQUEST, effort="none", effort_hint="enable_thinking")
    async with scripted(thoughtless("the prompt is too long")) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        with pytest.raises(InvalidRequestError, match="too long"):
            await play(engine, hinted)
        assert len(upstream.connections) == 1
        await engine.aclose()


# ── servers that take `n` and do not heed it ─────────────────────────────────────────────────────

THREE = msgspec.structs.replace(REQUEST, choices=3, sampling=Sampling(seed=7))
COUNTS = '"usage":{"prompt_tokens":5,"completion_tokens":2}'


def heedless(*, whole: bool, last: str = "") -> Script:
    """Answers with the seed that it was sent, once whatever `n` says; with `last` to the second."""

    async def script(connection: Connection) -> None:
        asked = json.decode(connection.body, dict[str, object], EngineProtocolError)
        if last and asked["seed"] != 7:
            await connection.answer("500 Oops", body=last.encode())
            return
        text = f'"content":"{asked["seed"]} of {asked.get("n", 1)}"'
        end = '"index":0,"finish_reason":"stop"'
        if whole:
            body = f'{{"choices":[{{"message":{{{text}}},{end}}}],{COUNTS}}}'
            await connection.answer(headers=("Content-Type: application/json",), body=body.encode())
            return
        await connection.answer(headers=SSE)
        for chunk in (
            f'{{"choices":[{{"index":0,"delta":{{{text}}}}}]}}',
            f'{{"choices":[{{"delta":{{}},{end}}}],{COUNTS}}}',
            "[DONE]",
        ):
            await connection.send(f"data: {chunk}\n\n".encode())

    return script


@pytest.mark.parametrize("whole", [False, True])
async def test_choices_that_a_server_does_not_make_are_asked_for_one_by_one(whole: bool) -> None:
    async with scripted(heedless(whole=whole)) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        assert "choices" in engine.supports
        events = said(await play(engine, THREE))
        # From now on the gateway asks for each by itself, side by side.
        assert "choices" not in engine.supports
        await engine.aclose()
    texts = {e.choice: e.text for e in events if isinstance(e, TextDelta)}
    assert texts == {0: "7 of 3", 1: "8 of 1", 2: "9 of 1"}
    assert len({e.part for e in events if isinstance(e, TextDelta)}) == 3
    assert [e.choice for e in events if isinstance(e, Finish)] == [0, 1, 2]
    assert events[-2:] == [Usage(input_tokens=5, output_tokens=6), Done(reason="stop")]


async def test_a_choice_that_is_asked_for_alone_and_fails_fails_the_stream() -> None:
    async with scripted(heedless(whole=False, last="broken")) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        with pytest.raises(EngineError, match="broken"):
            await play(engine, THREE)
        await engine.aclose()


async def test_a_choice_that_is_asked_for_alone_and_says_nothing_has_not_ended() -> None:
    once = True

    async def script(connection: Connection) -> None:
        nonlocal once
        await connection.answer(headers=SSE)
        await connection.send(A + STOP + END if once else END)
        once = False

    async with scripted(script) as upstream:
        engine = Engine(Config(url=upstream.url), QUICK)
        (*_, end) = said(await play(engine, THREE))
        await engine.aclose()
    assert isinstance(end, Failed)
    assert end.code == "engine_protocol"
