"""Bad input on real sockets: floods, silence, nonsense. Honest errors, and nothing leaks."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from tests.integration.http.parts import Running, serving
from tests.integration.http.stand_in import Dialect

from penstock.config.schema import Server

CHAT = "/v1/chat/completions"
START = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n".encode()
GOOD = b'{"model":"hello","messages":[{}]}'
FAST = Server(header_seconds=0.2, body_seconds=0.2, max_body_bytes=20_000)


@pytest.fixture
async def running(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Running]:
    """A server with short deadlines. Afterwards nothing may be left, nor any traceback logged."""
    caplog.set_level(logging.DEBUG)
    async with serving([Dialect()], settings=FAST) as found:
        before = len(asyncio.all_tasks())
        yield found
        await found.idle()
        async with asyncio.timeout(5):
            while len(asyncio.all_tasks()) > before:
                await asyncio.sleep(0.01)
    assert [r for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR] == []


async def exchange(running: Running, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Sends all pieces, whatever the server does meanwhile; what it answered until it closed."""
    reader, writer = await running.connect()
    try:
        for piece in pieces:
            writer.write(piece)
            try:
                await writer.drain()
            except ConnectionError:
                break
            await asyncio.sleep(pause)
        async with asyncio.timeout(15):
            return await reader.read()
    finally:
        writer.close()


def check(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert b"connection: close" in head.lower()
    assert b"x-request-id: " in head.lower()
    assert b'"code":"%s"' % code.encode() in body, answer[:600]


async def test_ten_thousand_headers(running: Running) -> None:
    flood = b"".join(b"x-%d: %s\r\n" % (n, b"v" * 90) for n in range(10_000))
    check(await exchange(running, START + flood + b"\r\n"), 431, "headers_too_large")


async def test_many_small_headers_in_one_read(running: Running) -> None:
    flood = b"".join(b"x%d:1\r\n" % n for n in range(101))
    check(await exchange(running, START + flood + b"\r\n"), 431, "headers_too_large")


async def test_one_header_that_never_ends(running: Running) -> None:
    pieces = [START + b"x: ", *(b"a" * 16_384 for _ in range(20))]
    check(await exchange(running, *pieces), 431, "headers_too_large")


async def test_a_url_that_is_too_long(running: Running) -> None:
    line = b"GET /v1/" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    check(await exchange(running, line), 431, "headers_too_large")


async def test_headers_that_never_finish(running: Running) -> None:
    check(await exchange(running, START + b"x: 1\r\n"), 408, "request_timeout")


async def test_headers_that_come_too_slowly(running: Running) -> None:
    pieces = [START, *(b"x%d: 1\r\n" % n for n in range(20))]
    check(await exchange(running, *pieces, pause=0.03), 408, "request_timeout")


async def test_a_connection_that_says_nothing_is_closed_without_a_word(running: Running) -> None:
    assert await exchange(running) == b""


async def test_a_body_that_never_finishes(running: Running) -> None:
    request = START + b"content-length: 1000\r\n\r\n{"
    check(await exchange(running, request), 408, "request_timeout")


async def test_a_slow_body_may_take_its_time(running: Running) -> None:
    request = START + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(GOOD)
    pieces = [GOOD[n : n + 4] for n in range(0, len(GOOD), 4)]
    answer = await exchange(running, request, *pieces, pause=0.05)
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_chunked_body_that_never_ends(running: Running) -> None:
    pieces = [
        START + b"transfer-encoding: chunked\r\n\r\n",
        *[b"1000\r\n" + b"a" * 4096 + b"\r\n"] * 30,
    ]
    check(await exchange(running, *pieces), 413, "request_too_large")


async def test_a_body_of_fifty_megabytes_is_refused_by_its_length(running: Running) -> None:
    request = START + b"content-length: %d\r\n\r\n" % (50 * 2**20)
    check(await exchange(running, request), 413, "request_too_large")


async def test_a_body_of_fifty_megabytes_that_is_sent_all_the_same(running: Running) -> None:
    request = START + b"content-length: %d\r\n\r\n" % (50 * 2**20)
    pieces = [b"a" * 2**20] * 50
    check(await exchange(running, request, *pieces), 413, "request_too_large")


async def test_no_100_continue_for_a_body_that_is_too_large(running: Running) -> None:
    request = START + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % (50 * 2**20)
    answer = await exchange(running, request)
    check(answer, 413, "request_too_large")


@pytest.mark.parametrize(
    "nonsense",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100],
)
async def test_what_is_not_http(running: Running, nonsense: bytes) -> None:
    answer = await exchange(running, nonsense)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Traceback" not in answer


async def test_broken_chunks_in_a_body(running: Running) -> None:
    request = START + b"transfer-encoding: chunked\r\n\r\nzz\r\n"
    check(await exchange(running, request), 400, "invalid_request")


async def test_two_content_lengths(running: Running) -> None:
    request = START + b"content-length: 5\r\ncontent-length: 6\r\n\r\nabcdef"
    check(await exchange(running, request), 400, "invalid_request")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b'{"messages": 3}', "messages"),
        (b'{"messages": []}', "messages"),
        (b"\xff", None),
    ],
)
async def test_bodies_that_make_no_sense(running: Running, body: bytes, param: str | None) -> None:
    status, _, answer = await running.ask("POST", CHAT, body)
    assert status == 400
    assert (b'"param":"%s"' % param.encode() if param else b'"param":null') in answer


async def test_pipelined_requests_are_answered_in_order(running: Running) -> None:
    one = START + b"content-length: %d\r\n\r\n" % len(GOOD) + GOOD
    last = b"GET /health HTTP/1.1\r\nHost: localhost\r\nconnection: close\r\n\r\n"
    answer = await exchange(running, one + one + last)
    assert answer.count(b"HTTP/1.1 200 ") == 3
    assert answer.index(b"choices") < answer.rindex(b"choices") < answer.index(b"api_key_required")


async def test_trailers_do_not_become_headers(running: Running) -> None:
    body = b"%x\r\n%b\r\n0\r\nx-request-id: smuggled\r\n\r\n" % (len(GOOD), GOOD)
    request = START + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    answer = await exchange(running, request + body)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"smuggled" not in answer


async def test_a_refused_request_leaves_its_connection_usable(running: Running) -> None:
    reader, writer = await running.connect()
    head = b""
    for path in (b"/v1/nothing", b"/health"):
        writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
    assert head.startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_two_hundred_clients_at_once(running: Running) -> None:
    answers = await asyncio.gather(
        *(exchange(running, b"GET /health HTTP/1.0\r\n\r\n") for _ in range(200))
    )
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
