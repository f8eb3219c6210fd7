"""The native routes: catch up, follow, resume, replay, list, cancel, erase."""

import asyncio
import http.client
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from tests.integration.http.browser import chromium
from tests.integration.http.parts import Running, serving
from tests.integration.http.stand_in import Dialect
from tests.integration.http.test_http_generate import CHAT, ask, breaking, gated, raw

from penstock.config.schema import Server, Streams
from penstock.core.errors import EngineProtocolError
from penstock.core.events import Done, Entry, Event, Seq, TextDelta
from penstock.core.request import Request
from penstock.wire import json
from penstock.wire.native import StreamList


async def start(running: Running, model: str = "hello", **headers: str) -> str:
    """A stream that has ended; its id."""
    _, found, _ = await running.ask("POST", CHAT, ask(model), **headers)
    return found["penstock-stream"]


def entries(body: bytes) -> list[Entry]:
    found = []
    for block in body.split(b"\n\n")[:-1]:
        name, _, data = block.partition(b"\n")
        entry = json.decode(data.removeprefix(b"data: "), Entry, EngineProtocolError)
        assert name == b"id: %d" % entry.seq
        found.append(entry)
    return found


async def test_from_every_seq_exactly_the_rest() -> None:
    async with serving([Dialect()]) as running:
        stream = await start(running)
        status, headers, body = await running.ask("GET", f"/v1/streams/{stream}")
        assert status == 200
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["penstock-stream"] == stream
        whole = entries(body)
        assert [entry.seq for entry in whole] == list(range(1, len(whole) + 1))
        assert isinstance(whole[-1].event, Done)
        for n in range(len(whole) + 3):
            status, _, by_query = await running.ask("GET", f"/v1/streams/{stream}?after={n}")
            assert status == 200
            status, headers, by_header = await running.ask(
                "GET", f"/v1/streams/{stream}?after=0", last_event_id=str(n)
            )
            assert status == (204 if n == len(whole) else 200)
            # Libraries that look at nothing else see a stream without events.
            assert headers["content-type"].startswith("text/event-stream")
            if n <= len(whole):
                assert entries(by_query) == entries(by_header) == whole[n:]
                continue
            # More than there is, as after a power failure: how it ended, under a new number.
            assert entries(by_query) == [msgspec.structs.replace(whole[-1], seq=Seq(n + 1))]
            # An EventSource comes back with this id, and then is at the end.
            at_the_end = b"id: %d\n" % len(whole)
            assert by_header.replace(at_the_end, b"id: %d\n" % (n + 1)) == by_query
            assert by_header.startswith(at_the_end)
        await running.idle()


async def test_a_live_stream_is_followed_from_its_last_event() -> None:
    gate = asyncio.Event()
    async with serving([Dialect()], {"slow": gated(gate)}) as running:
        reader, writer = await running.connect()
        writer.write(raw(ask("slow")))
        head = await reader.readuntil(b"\r\n\r\n")
        stream = head.partition(b"penstock-stream: ")[2][:32].decode()
        info = next(iter(await running.gateway.recent(running.gateway.authenticate([]), 1)))
        asking = asyncio.create_task(
            running.ask("GET", f"/v1/streams/{stream}", last_event_id=str(info.events))
        )
        await asyncio.sleep(0.1)
        gate.set()
        status, _, body = await asking
        assert status == 200
        assert isinstance(entries(body)[-1].event, Done)
        writer.close()
        await running.idle()


@pytest.mark.services
async def test_a_browsers_event_source_reads_once_and_comes_to_rest(tmp_path: Path) -> None:
    async with serving([Dialect()]) as running, chromium(tmp_path) as page:
        stream = await start(running)
        await page.open(f"http://127.0.0.1:{running.port}/docs")
        await page.run(
            f"window.source = new EventSource('/v1/streams/{stream}'), window.seqs = [],"
            "source.onmessage = (event) => void seqs.push(event.lastEventId)"
        )
        await page.until("source.readyState === EventSource.CLOSED")
        _, _, body = await running.ask("GET", f"/v1/streams/{stream}")
        assert await page.run("seqs") == [str(entry.seq) for entry in entries(body)]
        asked = [one for one in page.requests if "/v1/streams/" in one]
        assert len(asked) == 2


async def test_a_long_stream_comes_whole_and_in_order() -> None:
    async def long(_request: Request) -> AsyncIterator[Sequence[Event]]:
        yield [TextDelta(part=0, text=f"{n} ") for n in range(5_000)]
        yield [Done(reason="stop")]

    async with serving([Dialect()], {"long": long}) as running:
        stream = await start(running, "long")
        _, _, body = await running.ask("GET", f"/v1/streams/{stream}?after=1")
        texts = [e.event.text for e in entries(body) if isinstance(e.event, TextDelta)]
        assert texts == [f"{n} " for n in range(5_000)]


async def test_following_live_from_a_second_connection() -> None:
    gate = asyncio.Event()
    settings = Server(heartbeat_seconds=0.03)
    async with serving([Dialect()], {"slow": gated(gate)}, settings=settings) as running:
        reader, writer = await running.connect()
        writer.write(raw(ask("slow")))
        head = await reader.readuntil(b"\r\n\r\n")
        stream = head.partition(b"penstock-stream: ")[2][:32].decode()
        second, other = await running.connect()
        other.write(f"GET /v1/streams/{stream} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await second.readuntil(b'"text":"a"')
        await second.readuntil(b"\r\n: ping\n\r\n")
        gate.set()
        await second.readuntil(b'"reason":"stop"')
        await second.readuntil(b"0\r\n\r\n")
        writer.close()
        other.close()
        await running.idle()


async def test_coming_back_within_the_linger_keeps_the_run() -> None:
    gate = asyncio.Event()
    streams = Streams(linger_seconds=5.0)
    async with serving([Dialect()], {"slow": gated(gate)}, streams=streams) as running:
        reader, writer = await running.connect()
        writer.write(raw(ask("slow")))
        head = await reader.readuntil(b'"a"')
        stream = head.partition(b"penstock-stream: ")[2][:32].decode()
        writer.close()
        async with asyncio.timeout(5):
            while running.gateway.metrics.readers:
                await asyncio.sleep(0.005)
        asking = asyncio.get_running_loop().run_in_executor(
            None, running.request, "GET", f"/v1/streams/{stream}?after=2"
        )
        async with asyncio.timeout(5):
            while not running.gateway.metrics.readers:
                await asyncio.sleep(0.005)
        gate.set()
        _, _, body = await asking
        assert [type(e.event) for e in entries(body)] == [TextDelta, Done]
        assert running.engine.stopped == []


async def test_a_failed_stream_ends_cleanly_here() -> None:
    async with serving([Dialect()], {"bad": breaking}) as running:

        def break_it() -> str:
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
            connection.request("POST", CHAT, ask("bad"))
            response = connection.getresponse()
            with pytest.raises(http.client.IncompleteRead):
                response.read()
            connection.close()
            return response.getheader("Penstock-Stream") or ""

        stream = await asyncio.to_thread(break_it)
        status, _, body = await running.ask("GET", f"/v1/streams/{stream}")
        assert status == 200
        assert b'"type":"failed","code":"engine_failed"' in body


async def test_replay_keeps_the_gaps_of_the_recording() -> None:
    async def paced(_request: Request) -> AsyncIterator[Sequence[Event]]:
        for n in range(4):
            yield [TextDelta(part=0, text=str(n)), TextDelta(part=0, text="!")]
            await asyncio.sleep(0.1)
        yield [Done(reason="stop")]

    async with serving([Dialect()], {"paced": paced}) as running:
        stream = await start(running, "paced")
        loop = asyncio.get_running_loop()
        begun = loop.time()
        _, _, at_once = await running.ask("GET", f"/v1/streams/{stream}")
        middle = loop.time()
        _, _, replayed = await running.ask("GET", f"/v1/streams/{stream}?speed=1")
        end = loop.time()
        assert entries(replayed) == entries(at_once)
        recorded = (entries(at_once)[-1].ms - entries(at_once)[0].ms) / 1000
        assert end - middle >= recorded - 0.02  # the loop's clock and the log's are two
        assert middle - begun < end - middle


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("after=x", "after"),
        ("after=-1", "after"),
        ("after=", "after"),
        ("after=99999999999999999999", "after"),
        ("speed=fast", "speed"),
        ("speed=nan", "speed"),
        ("speed=-1", "speed"),
    ],
)
async def test_wrong_parameters_are_named(query: str, param: str) -> None:
    async with serving([Dialect()]) as running:
        stream = await start(running)
        status, _, body = await running.ask("GET", f"/v1/streams/{stream}?{query}")
        assert status == 400
        assert b'"param":"%s"' % param.encode() in body
        status, _, body = await running.ask("GET", f"/v1/streams/{stream}", last_event_id="x@1.0")
        assert status == 400
        assert b'"param":"Last-Event-ID"' in body


async def test_listing() -> None:
    async with serving([Dialect()]) as running:
        first, second = await start(running), await start(running)
        _, _, body = await running.ask("GET", "/v1/streams")
        found = json.decode(body, StreamList, EngineProtocolError)
        assert [info.stream for info in found.data] == [second, first]
        _, _, body = await running.ask("GET", "/v1/streams?limit=1")
        found = json.decode(body, StreamList, EngineProtocolError)
        assert [info.stream for info in found.data] == [second]
        for wrong in ("0", "1001", "many", ""):
            status, _, body = await running.ask("GET", f"/v1/streams?limit={wrong}")
            assert status == 400
            assert b'"param":"limit"' in body


async def test_cancel_and_erase() -> None:
    gate = asyncio.Event()
    async with serving([Dialect()], {"slow": gated(gate)}) as running:
        reader, writer = await running.connect()
        writer.write(raw(ask("slow")))
        head = await reader.readuntil(b'"a"')
        stream = head.partition(b"penstock-stream: ")[2][:32].decode()
        _, _, body = await running.ask("POST", f"/v1/streams/{stream}/cancel")
        assert body == b'{"id":"%s","object":"stream","cancelled":true}' % stream.encode()
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()
        assert running.engine.stopped == ["slow"]
        _, _, body = await running.ask("POST", f"/v1/streams/{stream}/cancel")
        assert b'"cancelled":false' in body
        status, _, body = await running.ask("DELETE", f"/v1/streams/{stream}")
        assert (status, body) == (
            200,
            b'{"id":"%s","object":"stream.deleted","deleted":true}' % stream.encode(),
        )
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel")):
            status, _, body = await running.ask(method, f"/v1/streams/{stream}{path}")
            assert status == 404
            assert b'"code":"unknown_stream"' in body
        await running.idle()


async def test_a_stream_belongs_to_its_key() -> None:
    async with serving([Dialect()], keys=["ours", "theirs"], admin_keys=["root"]) as running:
        stream = await start(running, authorization="Bearer ours")
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel")):
            status, _, _ = await running.ask(
                method, f"/v1/streams/{stream}{path}", x_api_key="theirs"
            )
            assert status == 404
            status, _, _ = await running.ask(method, f"/v1/streams/{stream}{path}")
            assert status == 401
        for key, count in (("theirs", 0), ("ours", 1), ("root", 1)):
            _, _, body = await running.ask("GET", "/v1/streams", api_key=key)
            assert len(json.decode(body, StreamList, EngineProtocolError).data) == count
        status, _, _ = await running.ask("GET", f"/v1/streams/{stream}", api_key="root")
        assert status == 200


async def test_head_of_a_stream_says_that_it_is_there_and_ends() -> None:
    async with serving([Dialect()]) as running:
        stream = await start(running)
        status, headers, body = await running.ask("HEAD", f"/v1/streams/{stream}")
        assert (status, body) == (200, b"")
        assert headers["content-type"].startswith("text/event-stream")
