"""The proxies of the environment: `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from penstock.core.errors import InvalidRequestError

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Proxy(msgspec.Struct, frozen=True):
    """`url` as the environment says it, `place` HOST:PORT; `headers`: who asks. Never shown."""

    url: str
    place: str
    headers: Mapping[str, str]


def proxy_of(url: str) -> Proxy | None:
    """The proxy on the way to an address; never one for this machine itself.

    Raises `InvalidRequestError` for an environment that makes no sense.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in _LOOPBACK or proxy_bypass(host):
        return None
    said = getproxies().get(parts.scheme)
    if not said:
        return None
    said = said if "://" in said else f"http://{said}"
    try:
        proxy = urlsplit(said)
        whole = proxy.scheme == "http" and proxy.hostname and proxy.port != 0
    except ValueError:  # its text may show a part of a password
        proxy, whole = urlsplit(""), False
    if not whole:
        what = f"{parts.scheme}_proxy: no address of a proxy; it looks like http://HOST:PORT"
        raise InvalidRequestError(what)
    who, _, place = proxy.netloc.rpartition("@")
    return Proxy(said, place, {"Proxy-Authorization": basic(who)} if who else {})


def basic(who: str) -> str:
    """The user and the password of an address, as they are sent (RFC 7617)."""
    return f"Basic {b64encode(unquote(who).encode()).decode()}"
