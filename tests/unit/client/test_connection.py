"""The client on real sockets: refusals, silence, cuts; and streams that outlive connections."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from penstock.client.connection import Connection
from penstock.core import errors
from penstock.core.events import Done, Entry, Event, Failed, Seq, Start, TextDelta
from penstock.core.messages import say
from penstock.core.ports import Timeouts
from penstock.core.request import Request
from penstock.wire import native, sse

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
ASK = Request(model="m", messages=(say("user", "Hi"),))
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """A scripted server; `answer` gets each request's head and body."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            ),
            0,
        )
        data = await reader.readexactly(length)
        try:
            await answer(head + data, writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def plain(status: str, body: bytes, extra: bytes = b"") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n".encode() + extra
    return head + b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (len(body), body)


def says(*pieces: bytes) -> Answer:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)

    return answer


async def events(client: Connection) -> list[Event]:
    found: list[Event] = []
    async with client.chat(ASK) as answering:
        while batch := await answering.take():
            found += [event for one in batch for event in one.events]
    return found


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        ("401 X", b'{"error":{"message":"bad key sk-secret"}}', errors.InvalidKeyError,
         "the key was refused"),
        ("403 X", b'{"detail":"no"}', errors.ForbiddenError, "no"),
        ("404 X", b'{"error":{"message":"no m","param":"model"}}', errors.NotFoundError, "no m"),
        ("404 X", b'{"error":{"message":"no m","code":"model_not_found"}}',
         errors.UnknownModelError, "no m"),
        ("404 X", b'{"detail":"no x"}', errors.NotFoundError, "(HTTP 404: no x)"),
        ("422 X", b'{"detail":[{"loc":["a"]}]}', errors.InvalidRequestError, '[{"loc":["a"]}]'),
        ("409 X", b'{"detail":"still runs"}', errors.SessionBusyError, "try again in 7 s"),
        ("429 X", b'{"error":"busy"}', errors.OverloadedError, "try again in 7 s"),
        ("400 X", b'{"message":"odd"}', errors.InvalidRequestError, "odd"),
        ("500 X", b"<html>sk-secret</html>", errors.EngineError, "the server failed"),
        ("503 X", b"", errors.UnavailableError, "try again in 7 s"),
        ("302 X", b"", errors.EngineProtocolError, "check the address"),
    ],
)  # fmt: skip
async def test_a_refusal_becomes_an_error_that_says_what_to_do(
    status: str, body: bytes, kind: type[errors.GatewayError], said: str
):
    async with (
        serving(says(plain(status, body, b"retry-after: 7\r\n"))) as url,
        Connection(url, key="sk-secret") as client,
    ):
        with pytest.raises(kind) as caught:
            await events(client)
    assert type(caught.value) is kind
    assert said in caught.value.message
    assert "sk-secret" not in caught.value.message


async def test_nothing_listens_there(unused_tcp_port: int):
    async with Connection(f"http://127.0.0.1:{unused_tcp_port}") as client:
        with pytest.raises(errors.UnavailableError, match="is the server running there"):
            await events(client)
        assert not await client.is_penstock(within=1)


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:1", "ftp://a", "http://", "x", "http://[::1", "http://a:99999", "http://a:b",
     "http://sk:secret@[a", "ftp://sk:secret@a", f"http://{'a' * 64}.com", "http://a..b"],
)  # fmt: skip
def test_no_address_is_said(url: str):
    with pytest.raises(errors.InvalidRequestError, match="is no address") as caught:
        Connection(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://a/v1?key=secret", "http://a/v1#secret"])
def test_an_address_has_no_query(url: str):
    with pytest.raises(errors.InvalidRequestError, match="ends with its path") as caught:
        Connection(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "sent"), [(None, b"Basic YTpzZWNyZXQ="), ("sk-1", b"Bearer sk-1")], ids=["none", "key"]
)
async def test_a_password_in_the_address_is_sent_and_never_shown(key: str | None, sent: bytes):
    asked: list[bytes] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        writer.write(HEAD + TEXT + END)

    async with (
        serving(answer) as url,
        Connection(url.replace("//", "//a:secret@"), key=key) as client,
        client.chat(ASK) as answering,
    ):
        shown = f"{client.url} {answering.asked}"
    (request,) = asked
    assert b"authorization: " + sent.lower() in request.lower()
    assert "secret" not in shown
    assert f"{sent.split()[0].decode()} ***" in shown


@pytest.mark.parametrize("stalled", [False, True], ids=["cut", "stalled"])
async def test_a_refusal_that_is_never_finished_is_still_said(stalled: bool):
    over = asyncio.Event()

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 500 X\r\ncontent-type: text/plain\r\ncontent-length: 99\r\n\r\n"
        writer.write(head + b"bo")
        await writer.drain()
        writer.write(b"om")
        if stalled:
            await over.wait()

    async with (
        serving(answer) as url,
        Connection(url, timeouts=Timeouts(connect=0.3)) as client,
    ):
        with pytest.raises(errors.EngineError, match="boom"):
            await events(client)
        over.set()


async def test_an_answer_and_its_key():
    asked: list[bytes] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        writer.write(HEAD + TEXT + END)

    async with serving(answer) as url, Connection(url + "/v1/", key="sk-1") as client:
        reply = await client.complete(ASK)
    assert reply.first.text == "Hi"
    assert asked[0].startswith(b"POST /v1/chat/completions ")
    assert b"Authorization: Bearer sk-1" in asked[0]


async def test_a_server_that_refuses_the_wish_for_usage_is_asked_without_it():
    asked: list[bytes] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        refused = plain("400 X", b'{"error":{"message":"stream_options: unknown"}}')
        writer.write(refused if len(asked) == 1 else HEAD + TEXT + END)

    async with serving(answer) as url, Connection(url) as client:
        assert await events(client) == [TextDelta(part=1, text="Hi"), Done(reason="stop")]
    assert [b"stream_options" in one for one in asked] == [True, False]


@pytest.mark.parametrize("where", ["before headers", "before the first token", "in the middle"])
async def test_silence_is_an_error_and_heartbeats_are_silence(where: str):
    gone = asyncio.Event()

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        if where != "before headers":
            writer.write(HEAD + (TEXT if where == "in the middle" else b""))
        try:
            while not writer.is_closing():
                await asyncio.sleep(0.05)
                if where != "before headers":
                    writer.write(b": ping\n\n")
                    await writer.drain()
        finally:
            gone.set()

    quick = Timeouts(connect=0.2, first_token=0.3, between_tokens=0.3)
    async with serving(answer) as url, Connection(url, timeouts=quick) as client:
        with pytest.raises(errors.EngineTimeoutError, match="raise the timeout"):
            await events(client)


async def test_a_cut_in_the_middle_is_an_error():
    chunked = HEAD.replace(b"connection: close", b"transfer-encoding: chunked")
    piece = b"%x\r\n%s\r\n" % (len(TEXT), TEXT)
    async with serving(says(chunked, piece)) as url, Connection(url) as client:
        with pytest.raises(errors.UnavailableError, match="was cut"):
            await events(client)


async def test_a_clean_end_without_an_ending_is_a_failure():
    async with serving(says(HEAD, TEXT)) as url, Connection(url) as client:
        *_, last = await events(client)
        assert isinstance(last, Failed)
        with pytest.raises(errors.EngineProtocolError):
            await client.complete(ASK)


async def test_models_are_listed():
    body = b'{"data":[{"id":"a/b","owned_by":"x","max_model_len":9},{"id":"c"}]}'
    async with serving(says(plain("200 OK", body))) as url, Connection(url) as client:
        found = [(card.name, card.binding, card.context_size) for card in await client.models()]
    assert found == [("a/b", "x", 9), ("c", "", None)]


# ── following ────────────────────────────────────────────────────────────────────────────────────

ENTRIES = [
    Entry(Seq(1), 0, Start(stream="s", asked="m", binding="b", model="m", created=1)),
    *(Entry(Seq(2 + n), n, TextDelta(part=1, text=f"word{n} ")) for n in range(10)),
    Entry(Seq(12), 9, Done(reason="stop")),
]


def wire(entries: list[Entry]) -> bytes:
    return sse.frame(native.frames(entries), [str(entry.seq) for entry in entries])


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "clean close"])
async def test_a_connection_lost_at_every_event_loses_and_repeats_nothing(reset: bool):
    cursors: list[int] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        after = int(request.split(b"after=")[1].split()[0])
        cursors.append(after)
        writer.write(HEAD + b": ping\n" + wire(ENTRIES[after : after + 1]))
        writer.write(wire(ENTRIES[after + 1 : after + 2])[:20])
        await writer.drain()
        if reset:
            await asyncio.sleep(0.02)
            writer.transport.abort()

    async with serving(answer) as url, Connection(url) as client:
        assert [entry async for entry in client.follow("s")] == ENTRIES
    assert cursors == list(range(12))


async def test_a_server_that_is_away_for_a_moment_is_waited_for():
    turns = iter([plain("503 X", b"{}", b"retry-after: 0.1\r\n"), HEAD + wire(ENTRIES)])

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(next(turns))

    async with serving(answer) as url, Connection(url) as client:
        assert len([entry async for entry in client.follow("s", Seq(0))]) == 12


async def test_patience_ends(unused_tcp_port: int):
    async with Connection(f"http://127.0.0.1:{unused_tcp_port}", patience=0.2) as client:
        with pytest.raises(errors.UnavailableError, match="is the server running"):
            await anext(client.follow("s"))


async def test_an_unknown_stream_is_an_error_at_once():
    body = b'{"error":{"message":"no stream \'s\'"}}'
    async with serving(says(plain("404 X", body))) as url, Connection(url) as client:
        with pytest.raises(errors.NotFoundError, match="no stream 's'"):
            await anext(client.follow("s"))


async def test_cancel_and_list():
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        if request.startswith(b"POST /v1/streams/s/cancel "):
            writer.write(plain("200 OK", b'{"id":"s","object":"stream","cancelled":true}'))
        else:
            assert request.startswith(b"GET /v1/streams?limit=3 ")
            writer.write(plain("200 OK", b'{"object":"list","data":[]}'))

    async with serving(answer) as url, Connection(url) as client:
        assert await client.cancel("s") is True
        assert list(await client.streams(3)) == []


@pytest.mark.parametrize(
    ("body", "ours"),
    [
        (b'{"status":"ok","version":"1","api_key_required":false}', True),
        (b'{"status":"ok"}', False),
        (b"hello", False),
    ],
)
async def test_our_own_server_is_told_from_others(body: bytes, ours: bool):
    async with serving(says(plain("200 OK", body))) as url, Connection(url) as client:
        assert await client.is_penstock(within=5) is ours
