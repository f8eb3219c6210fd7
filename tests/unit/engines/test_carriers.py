"""What both carriers of HTTP engines do with their connections."""

import asyncio

import pytest

from penstock.core.errors import ConfigError
from penstock.core.events import Done, TextDelta
from penstock.core.ports import Timeouts
from penstock.core.secrets import Secret
from penstock.engines._http import Upstream
from penstock.engines.openai import Config, Engine
from penstock.testing.engines import play, said
from penstock.testing.vectors import REQUEST

pytestmark = pytest.mark.usefixtures("carrier")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
BODY = (
    b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
ANSWER = [TextDelta(part=1, text="a"), Done(reason="stop")]


async def connections(more: bytes) -> int:
    """How many connections three runs, one after the other, took."""
    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
                writer.write(HEAD + more + b"\r\n" + chunk)
                await writer.drain()
                if more:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    quick = Timeouts(connect=2, first_token=5, between_tokens=5)
    engine = Engine(Config(url=f"http://127.0.0.1:{port}"), quick)
    try:
        for _ in range(3):
            assert said(await play(engine, REQUEST)) == ANSWER
    finally:
        await engine.aclose()
        server.close()
    return opened


@pytest.mark.parametrize(("path", "sent"), [("", b" /v1/"), ("/\u20ac", b" /%E2%82%AC/v1/")])
async def test_what_is_not_ascii_is_sent_as_utf8(path: str, sent: bytes) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(HEAD + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        config = Config(url=f"http://127.0.0.1:{port}{path}", headers={"X-Who": Secret("\u20ac")})
        engine = Engine(config, Timeouts(connect=2, first_token=5))
        assert said(await play(engine, REQUEST)) == ANSWER
        await engine.aclose()
    assert sent in heads[0]
    assert "X-Who: \u20ac\r\n".encode() in heads[0]


async def test_a_connection_is_used_again() -> None:
    assert await connections(b"") == 1


async def test_a_connection_that_is_to_be_closed_is_not() -> None:
    assert await connections(b"Connection: close\r\n") == 3


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("url", "ftp://host"),
        ("url", "http://"),
        ("url", "http://[::1/v1"),
        ("url", "http://host:99999/v1"),
        ("url", "http://host:http/v1"),
        ("url", "http://host/v1 x"),
        ("url", "http://host/v1\nx"),
        ("url", "http://me:hunter2@/v1"),
        ("key", "\u201chunter2\u201d"),
        ("key", "hunter2\n"),
    ],
)
def test_an_address_or_a_key_that_is_none_is_named_and_not_shown(setting: str, value: str) -> None:
    config = Config(url=value) if setting == "url" else Config(key=Secret(value))
    with pytest.raises(ConfigError) as caught:
        Engine(config, Timeouts())
    assert caught.value.param == setting
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("user", ["bob:secret@", "bob@", ":secret@"])
def test_a_user_in_the_address_and_a_key_cannot_both_be_sent(user: str) -> None:
    url = f"http://{user}127.0.0.1:9/v1"
    Upstream(url, Timeouts())
    for more in ({"key": Secret("k")}, {"headers": {"authorization": Secret("Basic x")}}):
        with pytest.raises(ConfigError, match="names a user") as caught:
            Upstream(url, Timeouts(), **more)
        assert caught.value.param == "url"
        assert "secret" not in caught.value.message
