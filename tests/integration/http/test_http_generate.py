"""A generation over HTTP: streamed, whole, failing, resumed, abandoned."""

import asyncio
import http.client
import logging
import time
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.integration.http.parts import Play, Running, serving
from tests.integration.http.stand_in import Dialect

from penstock.config.schema import Server, Streams
from penstock.core.errors import EngineError, EngineRefusedError
from penstock.core.events import Done, Event, Failed, Progress, TextDelta
from penstock.core.principals import LOCAL
from penstock.core.request import Request
from penstock.dialects.ollama import Dialect as Ollama
from penstock.wire import json

CHAT = "/v1/chat/completions"
ASK = b'{"model":"%s","stream":%s,"messages":[{"role":"user","content":"hi"}]}'


def ask(model: str = "hello", *, stream: bool = True) -> bytes:
    return ASK % (model.encode(), b"true" if stream else b"false")


def raw(body: bytes, path: str = CHAT, headers: str = "") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}content-length: {len(body)}\r\n\r\n"
    ).encode() + body


def data_of(body: bytes) -> list[bytes]:
    return [b[6:] for b in body.split(b"\n\n") if b.startswith(b"data: ")]


def text_of(body: bytes) -> str:
    found = ""
    for data in data_of(body):
        if data == b"[DONE]":
            continue
        chunk = json.decode(data, dict[str, object], ValueError)  # type: ignore[arg-type]
        for choice in chunk["choices"]:  # type: ignore[attr-defined]
            found += choice.get("delta", {}).get("content") or ""
    return found


def gated(gate: asyncio.Event, *, accepted: bool = True, parts: int = 1) -> Play:
    """Says `parts` times `a`, waits, then says `b` and ends."""

    async def play(_request: Request) -> AsyncIterator[Sequence[Event]]:
        if accepted:
            yield []
        for _ in range(parts):
            yield [TextDelta(part=0, text="a")]
        await gate.wait()
        yield [TextDelta(part=0, text="b"), Done(reason="stop")]

    return play


async def refusing(_request: Request) -> AsyncIterator[Sequence[Event]]:
    if _request.model:
        raise EngineRefusedError("the upstream refused our key")
    yield []


async def breaking(_request: Request) -> AsyncIterator[Sequence[Event]]:
    yield [TextDelta(part=0, text="so far")]
    raise EngineError("the upstream broke off")


async def queued_then_failed(_request: Request) -> AsyncIterator[Sequence[Event]]:
    yield [Progress(what="queued", at=1), Failed(code="engine_failed", message="no")]


async def test_a_streamed_reply() -> None:
    async with serving([Dialect()]) as running:
        status, headers, body = await running.ask("POST", CHAT, ask())
        assert status == 200
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-cache"
        assert headers["x-accel-buffering"] == "no"
        assert headers["transfer-encoding"] == "chunked"
        assert len(headers["penstock-stream"]) == 32
        assert len(headers["x-request-id"]) == 16
        assert "server" not in headers
        assert text_of(body) == "Hello \u2028é"
        assert data_of(body)[-1] == b"[DONE]"
        assert b"id:" not in body
        assert body.isascii()
        await running.idle()


async def test_a_whole_reply() -> None:
    async with serving([Dialect()]) as running:
        status, headers, body = await running.ask("POST", CHAT, ask(stream=False))
        assert status == 200
        assert headers["content-type"] == "application/json"
        assert int(headers["content-length"]) == len(body)
        assert len(headers["penstock-stream"]) == 32
        assert json.encode("Hello \u2028é") in body
        await running.idle()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("play", [refusing, queued_then_failed])
async def test_a_failure_before_anything_was_said_is_an_http_error(
    stream: bool, play: Play
) -> None:
    async with serving([Dialect()], {"bad": play}) as running:
        status, headers, body = await running.ask("POST", CHAT, ask("bad", stream=stream))
        assert status == 502
        assert headers["content-type"] == "application/json"
        assert headers["penstock-stream"]
        assert b'"error"' in body
        await running.idle()


async def test_a_failure_after_the_start_ends_abnormally_and_logs_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving([Dialect()], {"bad": breaking}) as running:

        def exchange() -> bytes:
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
            connection.request("POST", CHAT, ask("bad"))
            with pytest.raises(http.client.IncompleteRead) as caught:
                connection.getresponse().read()
            connection.close()
            return caught.value.partial

        partial = await asyncio.to_thread(exchange)
        assert b"so far" in partial
        assert b"the upstream broke off" in partial
        assert b"[DONE]" not in partial
        await running.idle()
    assert [r for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR] == []


async def test_a_failure_of_a_whole_reply_after_a_long_wait_ends_abnormally() -> None:
    gate = asyncio.Event()

    async def play(_request: Request) -> AsyncIterator[Sequence[Event]]:
        yield []
        await gate.wait()
        raise EngineError("in the end it broke")

    settings = Server(heartbeat_seconds=0.05)
    async with serving([Dialect()], {"bad": play}, settings=settings) as running:
        reader, writer = await running.connect()
        writer.write(raw(ask("bad", stream=False)))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head
        gate.set()
        rest = await reader.read()
        assert b"in the end it broke" in rest
        assert not rest.endswith(b"0\r\n\r\n")
        writer.close()
        await running.idle()


async def test_heartbeats_bridge_silence_and_are_no_events() -> None:
    gate = asyncio.Event()
    settings = Server(heartbeat_seconds=0.03)
    scripts = {"slow": gated(gate)}
    async with serving([Dialect()], scripts, settings=settings) as running:
        reader, writer = await running.connect()
        writer.write(raw(ask("slow")))
        await reader.readuntil(b": ping\n\n")
        await reader.readuntil(b": ping\n\n")
        gate.set()
        rest = await reader.readuntil(b"0\r\n\r\n")
        assert b"[DONE]" in rest
        writer.close()
        await running.idle()


async def test_a_whole_reply_is_kept_alive_by_white_space() -> None:
    gate = asyncio.Event()
    settings = Server(heartbeat_seconds=0.03)
    scripts = {"slow": gated(gate)}
    async with serving([Dialect()], scripts, settings=settings) as running:

        def exchange() -> bytes:
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
            connection.request("POST", CHAT, ask("slow", stream=False))
            response = connection.getresponse()
            first = response.read1(10)
            loop.call_soon_threadsafe(gate.set)
            rest = response.read()
            connection.close()
            return first + rest

        loop = asyncio.get_running_loop()
        body = await asyncio.to_thread(exchange)
        assert body.startswith(b" ")
        assert b'"ab"' in body
        json.decode(body, object, ValueError)  # type: ignore[arg-type]
        await running.idle()


async def test_headers_leave_before_the_first_token() -> None:
    gate = asyncio.Event()

    async def silent(_request: Request) -> AsyncIterator[Sequence[Event]]:
        await gate.wait()
        yield [Done(reason="stop")]

    settings = Server(opening_seconds=0.05)
    async with serving([Dialect()], {"mute": silent}, settings=settings) as running:
        reader, writer = await running.connect()
        writer.write(raw(ask("mute")))
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        gate.set()
        assert b"[DONE]" in await reader.readuntil(b"0\r\n\r\n")
        writer.close()


async def lose_client(running: Running, request: bytes, seen: bytes | None) -> float:
    """Sends, reads until `seen`, closes; how long until the server let go of everything."""
    reader, writer = await running.connect()
    writer.write(request)
    if seen is None:
        async with asyncio.timeout(10):
            while not running.gateway.metrics.readers:
                await asyncio.sleep(0.001)
    else:
        await reader.readuntil(seen)
    begun = time.monotonic()
    writer.close()
    async with asyncio.timeout(10):
        while running.gateway.metrics.readers:
            await asyncio.sleep(0.001)
    return time.monotonic() - begun


@pytest.mark.parametrize(
    ("policy", "stream", "stops"),
    [("cancel", True, True), ("finish", True, False), ("linger", True, True), ("", False, True)],
)
async def test_a_lost_client_is_noticed_at_once_and_the_policy_applies(
    policy: str, stream: bool, stops: bool
) -> None:
    gate = asyncio.Event()
    header = f"penstock-on-disconnect: {policy}\r\n" if policy else ""
    streams = Streams(linger_seconds=0.05)
    async with serving([Dialect()], {"slow": gated(gate)}, streams=streams) as running:
        request = raw(ask("slow", stream=stream), headers=header)
        seconds = await lose_client(running, request, b'"a"' if stream else None)
        assert seconds < 1.0
        if stops:
            await running.idle()
            assert running.engine.stopped == ["slow"]
        else:
            assert running.gateway.metrics.runs == 1
            gate.set()
            await running.idle()
            assert running.engine.stopped == []
            [info] = await running.gateway.recent(LOCAL, 5)
            assert (info.state, info.events) == ("done", 4)


async def test_a_lost_client_leaves_no_task(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    gate = asyncio.Event()
    async with serving([Dialect()], {"slow": gated(gate)}) as running:
        before = len(asyncio.all_tasks())
        request = raw(ask("slow"), headers="penstock-on-disconnect: cancel\r\n")
        for _ in range(20):
            await lose_client(running, request, b'"a"')
        await running.idle()
        assert len(asyncio.all_tasks()) == before
    assert [r for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR] == []


async def test_a_wrong_policy_is_named() -> None:
    async with serving([Dialect()]) as running:
        status, _, body = await running.ask("POST", CHAT, ask(), penstock_on_disconnect="explode")
        assert status == 400
        assert b'"param":"Penstock-On-Disconnect"' in body


async def test_a_wrong_policy_is_named_also_where_nothing_is_generated() -> None:
    async with serving([Ollama()]) as running:
        load = b'{"model":"hello"}'
        status, _, body = await running.ask(
            "POST", "/api/chat", load, penstock_on_disconnect="explode"
        )
        assert status == 400
        assert b"Penstock-On-Disconnect must be one of" in body


async def test_event_ids_on_request_and_resuming_from_each() -> None:
    async with serving([Dialect()]) as running:
        _, headers, whole = await running.ask("POST", CHAT, ask(), last_event_id="")
        blocks = whole.split(b"\n\n")[:-1]
        stream = headers["penstock-stream"].encode()
        ids = [block.partition(b"\n")[0].removeprefix(b"id: ") for block in blocks]
        assert len(blocks) == len(set(ids)) == 5
        assert all(i.startswith(stream + b"@") for i in ids)
        for n, last in enumerate(ids):
            status, again, rest = await running.ask("POST", CHAT, last_event_id=last.decode())
            assert status == 200
            assert again["penstock-stream"].encode() == stream
            assert rest == b"".join(block + b"\n\n" for block in blocks[n + 1 :])
        assert sum(running.gateway.metrics.requests.values()) == 1


@pytest.mark.parametrize("value", ["nonsense", "@1.2", "abc@1", "abc@1.x"])
async def test_a_wrong_event_id_is_named(value: str) -> None:
    async with serving([Dialect()]) as running:
        status, _, body = await running.ask("POST", CHAT, ask(), last_event_id=value)
        assert status == 400
        assert b'"param":"Last-Event-ID"' in body


async def test_heartbeats_in_a_stream_with_ids_have_no_blank_line() -> None:
    gate = asyncio.Event()
    settings = Server(heartbeat_seconds=0.03)
    scripts = {"slow": gated(gate)}
    async with serving([Dialect()], scripts, settings=settings) as running:
        reader, writer = await running.connect()
        writer.write(raw(ask("slow"), headers="last-event-id:\r\n"))
        await reader.readuntil(b"\r\n: ping\n\r\n")
        gate.set()
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()


async def test_a_slow_reader_slows_only_itself() -> None:
    """It is sent far more than the sockets hold; what the server keeps for it stays small."""
    piece = "x" * 8_000

    async def flood(_request: Request) -> AsyncIterator[Sequence[Event]]:
        for _ in range(4_000):
            yield [TextDelta(part=0, text=piece)]
            await asyncio.sleep(0)
        yield [Done(reason="stop")]

    async with serving([Dialect()], {"flood": flood}) as running:
        reader, writer = await running.connect()
        writer.write(raw(ask("flood"), headers="penstock-on-disconnect: cancel\r\n"))
        await reader.readuntil(b"data: ")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(60):
            while running.gateway.metrics.runs:
                await asyncio.sleep(0.01)
        [connection] = running.server.server_state.connections
        assert connection.transport.get_write_buffer_size() < 8 * 2**20
        status, _, _ = await running.ask("POST", CHAT, ask())
        assert status == 200
        writer.transport.abort()
        await running.idle()


async def test_an_old_client_gets_no_chunks() -> None:
    """RFC 9112, 6.1: no `transfer-encoding` to a client of HTTP/1.0."""
    async with serving([Dialect()]) as running:
        reader, writer = await running.connect()
        writer.write(raw(ask()).replace(b"HTTP/1.1", b"HTTP/1.0"))
        head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
        writer.close()
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        assert body.startswith(b"data: ")
        assert body.endswith(b"data: [DONE]\n\n")
