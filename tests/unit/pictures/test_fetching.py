"""Pictures are fetched from the public Internet, and from nowhere else.

The server is a real one on loopback, which only these tests may connect to.
"""

import re
import ssl
from collections.abc import Callable
from ipaddress import ip_address

import pytest
from tests.unit.pictures.https import loopback, nameless, page, serving

from penstock.core.errors import InvalidRequestError, RequestTooLargeError
from penstock.pictures.fetching import Address, Fetcher, is_public

MOST = 100_000
PUBLIC = ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001::200e"]
PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:1.1.1.1",
    "64:ff9b::7f00:1",
    "64:ff9b::101:101",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:101:101::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_public(address: str):
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_everything_else_is_not(address: str):
    assert not is_public(ip_address(address))


def moved(to: str, status: str = "302 Found") -> bytes:
    return page(b"", status, f"Location: {to}", "Set-Cookie: a=b; Path=/")


def fetcher(
    allowed: Callable[[Address], bool] = loopback, most: int = MOST, seconds: float = 10
) -> Fetcher:
    context = nameless(ssl.PROTOCOL_TLS_CLIENT)
    return Fetcher(most, allowed=allowed, ssl=context, seconds=seconds)


async def refusal(url: str, by: Fetcher | None = None) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError, match=r"^mask: ") as caught:
        await (by or fetcher()).fetch(url, "mask")
    assert caught.value.param == "mask"
    return caught.value


async def test_a_picture_is_fetched_without_cookie_or_credential(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    pages = {"/a.png?x=1": page(b"picture", "200 OK", "Set-Cookie: a=b")}
    async with serving(pages) as server:
        for _ in range(2):
            assert await fetcher().fetch(server.url("/a.png?x=1"), "image") == b"picture"
    for head in server.asked:
        names = {line.partition(":")[0].lower() for line in head.split("\r\n")[1:] if line}
        assert names <= {"host", "accept", "accept-encoding", "user-agent"}
        assert "Accept-Encoding: identity" in head


async def test_three_redirects_are_followed_and_no_cookie_goes_along():
    pages = {
        "/1": moved("/2", "301 Moved Permanently"),
        "/2": moved("3", "303 See Other"),
        "/3": moved("/4", "307 Temporary Redirect"),
        "/4": page(b"here"),
        "/0": moved("/1", "308 Permanent Redirect"),
    }
    async with serving(pages) as server:
        assert await fetcher().fetch(server.url("/1"), "image") == b"here"
        assert len(server.asked) == 4
        assert not any("cookie" in head.lower() for head in server.asked)
        error = await refusal(server.url("/0"))
    assert error.message == "mask: more than 3 redirects"
    assert len(server.asked) == 8


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("http://localhost/", "only https"),
        ("ftp://localhost/", "only https"),
        ("file:///etc/passwd", "only https"),
        ("https://user:word@localhost/", "a name in it"),
        ("https://127.0.0.1/", "needs a host's name"),
        ("https://[::1]/", "needs a host's name"),
    ],
)
async def test_a_redirect_is_checked_as_the_first_address_is(to: str, why: str):
    async with serving({"/": moved(to)}) as server:
        error = await refusal(server.url())
        assert len(server.asked) == 1
    assert re.search(why, error.message)


async def test_a_redirect_to_a_private_address_is_not_followed():
    """The first hop's address is allowed, the second's isn't: as a public server would try."""
    hops: list[Address] = []

    def first(address: Address) -> bool:
        hops.append(address)
        return len(hops) == 1

    away = page(b"", "302 Found", "Location: /secret", "Connection: close")
    async with serving({"/": away}) as server:
        error = await refusal(server.url(), fetcher(first))
        assert len(server.asked) == 1
    assert error.message == "mask: the address can't be fetched"
    assert len(hops) >= 2


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "2130706433",
        "0x7f.1",
        "127.1",
        "\uff11\uff12\uff17.0.0.1",
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1%25lo]",
        "no-such-host.invalid",
    ],
)
async def test_no_spelling_of_a_private_address_is_connected_to(host: str):
    async with serving({"/": page(b"secret")}) as server:
        error = await refusal(f"https://{host}:{server.port}/", fetcher(is_public))
        assert server.connections == 0
    assert error.message in (
        "mask: the address can't be fetched",
        "mask: an address needs a host's name",
    )


@pytest.mark.parametrize(
    "answer",
    [
        page(b"", "404 Not Found"),
        page(b"x", "500 Internal Server Error"),
        page(b"", "204 No Content"),
        page(b"x", "206 Partial Content"),
        page(b"\x1f\x8b", "200 OK", "Content-Encoding: gzip"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"no http at all\r\n\r\n",
        page(b"", "302 Found"),
    ],
)
async def test_what_is_no_answer_is_refused(answer: bytes):
    async with serving({"/": answer}) as server:
        if answer.endswith(b"short"):
            server.pages["/"] = answer
            error = await refusal(server.url(), fetcher(seconds=0.5))
        else:
            error = await refusal(server.url())
    assert error.message in (
        "mask: the address can't be fetched",
        "mask: more than 3 redirects",
    )


async def test_a_large_answer_is_not_read():
    pages = {
        "/said": b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n",
        "/unsaid": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(400_000),
    }
    async with serving(pages) as server:
        for path in pages:
            error = await refusal(server.url(path))
            assert isinstance(error, RequestTooLargeError)
            assert error.message == "mask: larger than 100000 bytes"


async def test_a_silent_server_is_waited_for_only_so_long():
    async with serving({}) as server:
        error = await refusal(server.url("/never"), fetcher(seconds=0.3))
    assert error.message == "mask: the address can't be fetched"


@pytest.mark.parametrize(
    "url", ["https://user@localhost/", "https://:word@localhost/", "https://localhost:99999/"]
)
async def test_odd_addresses_are_refused(url: str):
    await refusal(url)
