"""What stands at an address that a client names: fetched from the public Internet, or not at all.

A gateway that fetches what strangers name would be their way into its own network. So no socket is
made but to an address of the public Internet, for the name and for every redirect. The check stands
where the socket is made: no name can change after it, and no spelling of an address gets past it.
"""

import asyncio
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from ssl import SSLContext
from typing import Final

import aiohttp
from aiohttp.typedefs import StrOrURL
from yarl import URL

from penstock.core.errors import InvalidRequestError, RequestTooLargeError

MOST_REDIRECTS: Final = 3
_SECONDS: Final = 20.0
_CHUNK: Final = 64 * 1024
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_HEADERS: Final = {
    "Accept": "image/png, image/jpeg, image/webp",
    "Accept-Encoding": "identity",
    "User-Agent": "penstock",
}

Address = IPv4Address | IPv6Address


def is_public(address: Address) -> bool:
    """Whether an address is somebody's on the public Internet, and no way back to us.

    An IPv6 address that stands for an IPv4 one (mapped, 6to4, Teredo, NAT64) never is.
    """
    if isinstance(address, IPv6Address) and (
        address.ipv4_mapped is not None
        or address.sixtofour is not None
        or address.teredo is not None
        or address.is_site_local
        or any(address in network for network in _NAT64)
    ):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


class Fetcher:
    """Gets pictures by `https:` only, of `most` bytes at most. Sends no cookie and no credential.

    `allowed` says which addresses a socket may be made to; `ssl` how servers are believed.
    """

    def __init__(
        self,
        most: int,
        *,
        allowed: Callable[[Address], bool] = is_public,
        ssl: SSLContext | bool = True,
        seconds: float = _SECONDS,
    ) -> None:
        self._most = most
        self._allowed = allowed
        self._ssl = ssl
        self._seconds = seconds

    async def fetch(self, url: str, param: str) -> bytes:
        """The bytes at an address, after `MOST_REDIRECTS` redirects at most.

        Raises `InvalidRequestError` naming `param`. It never tells a name that there is not from
        one that is private, nor a closed port from a silent one.
        """
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=self._socket, ssl=self._ssl),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        async with session:
            try:
                async with asyncio.timeout(self._seconds):
                    return await self._followed(session, url, param)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise _unreachable(param) from error

    def _socket(
        self, found: tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]
    ) -> socket.socket:
        """Raises `OSError` for an address that may not be connected to."""
        family, kind, protocol, _, where = found
        # A scope (`fe80::1%eth0`) is no part of the address.
        if not self._allowed(ip_address(where[0].partition("%")[0])):
            raise OSError("not an address of the public Internet")
        return socket.socket(family, kind, protocol)

    async def _followed(self, session: aiohttp.ClientSession, url: str, param: str) -> bytes:
        here: StrOrURL = url
        for _ in range(MOST_REDIRECTS + 1):
            at = _checked(here, param)
            async with session.get(at, headers=_HEADERS, allow_redirects=False) as answer:
                if answer.status not in _MOVED:
                    return await self._read(answer, param)
                here = at.join(URL(answer.headers.get("Location", "")))
        raise InvalidRequestError(f"{param}: more than {MOST_REDIRECTS} redirects", param=param)

    async def _read(self, answer: aiohttp.ClientResponse, param: str) -> bytes:
        if answer.status != 200 or "Content-Encoding" in answer.headers:
            raise _unreachable(param)
        if (answer.content_length or 0) > self._most:
            raise self._too_large(param)
        found = bytearray()
        async for piece in answer.content.iter_chunked(_CHUNK):
            found += piece
            if len(found) > self._most:
                raise self._too_large(param)
        return bytes(found)

    def _too_large(self, param: str) -> RequestTooLargeError:
        return RequestTooLargeError(f"{param}: larger than {self._most} bytes", param=param)


def _checked(url: StrOrURL, param: str) -> URL:
    """Raises for an address that is not even tried."""
    try:
        found = URL(url)
    except ValueError as error:
        raise InvalidRequestError(f"{param}: not an address", param=param) from error
    if found.scheme != "https":
        raise InvalidRequestError(
            f"{param}: only https: addresses of pictures are fetched", param=param
        )
    if found.user is not None or found.password is not None:
        raise InvalidRequestError(f"{param}: an address with a name in it", param=param)
    if not found.raw_host or _is_number(found.raw_host):
        raise InvalidRequestError(f"{param}: an address needs a host's name", param=param)
    return found


def _is_number(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _unreachable(param: str) -> InvalidRequestError:
    return InvalidRequestError(f"{param}: the address can't be fetched", param=param)
