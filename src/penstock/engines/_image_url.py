"""A picture that an upstream answers with an address for: fetched without our key, within bounds.

An upstream may be wrong or taken over, so that what it names is not trusted: `https:` on the public
Internet only, checked where the socket is made, or the upstream's own address.
"""

import asyncio
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from penstock.core.errors import EngineProtocolError
from penstock.core.ports import Timeouts
from penstock.engines._image_files import MOST_BYTES
from penstock.engines._upstream_errors import our_errors

_CHUNK: Final = 64 * 1024
_Address = IPv4Address | IPv6Address


async def fetched(url: str, own: str, timeouts: Timeouts) -> bytes:
    """The bytes at `url`; `own` is the address of the upstream that named it.

    Raises `EngineProtocolError` for what is not to be fetched or is too large, `EngineError` for
    what fails. The address itself is never told: it may carry a signature.
    """
    try:
        parts, ours = urlsplit(url), urlsplit(own)
        at_home = (parts.scheme, parts.hostname, parts.port) == (
            ours.scheme,
            ours.hostname,
            ours.port,
        )
    except ValueError as error:
        raise EngineProtocolError("the upstream named no address that can be read") from error
    if not at_home and parts.scheme != "https":
        raise EngineProtocolError("the upstream named a picture at an address that is not https")
    with our_errors("the address that the upstream gave for a picture"):
        async with asyncio.timeout(timeouts.connect + timeouts.between_tokens):
            return await _got(url, at_home=at_home)


async def _got(url: str, *, at_home: bool) -> bytes:
    connector = aiohttp.TCPConnector(socket_factory=_any if at_home else _public)
    async with (
        aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "penstock", "Accept-Encoding": "identity"},
        ) as session,
        session.get(url, allow_redirects=False) as answer,
    ):
        if answer.status != 200:
            raise EngineProtocolError(
                f"the upstream's address of a picture answered HTTP {answer.status}"
            )
        pieces: list[bytes] = []
        size = 0
        async for piece in answer.content.iter_chunked(_CHUNK):
            size += len(piece)
            if size > MOST_BYTES:
                raise EngineProtocolError("the upstream's picture is too large")
            pieces.append(piece)
        return b"".join(pieces)


_Info = tuple[
    socket.AddressFamily | int, socket.SocketKind | int, int, str, tuple[str | int | bytes, ...]
]
_Factory = Callable[[_Info], socket.socket]


def _any(info: _Info) -> socket.socket:
    made = socket.socket(info[0], info[1], info[2])
    made.setblocking(False)
    return made


def _public(info: _Info) -> socket.socket:
    if not _is_public(ip_address(str(info[4][0]).partition("%")[0])):
        raise EngineProtocolError("the upstream named a picture at a private address")
    return _any(info)


def _is_public(address: _Address) -> bool:
    """An IPv6 address that stands for an IPv4 one is none: it may lead anywhere."""
    if isinstance(address, IPv6Address) and (
        address.ipv4_mapped is not None or address.sixtofour is not None or address.teredo
    ):
        return False
    return address.is_global and not address.is_multicast
