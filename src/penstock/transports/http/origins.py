"""Which web pages may call, and under which names: CORS, `Origin` and `Host`.

Without a key the only fence around a loopback server is the browser's: a page that the user opens
could otherwise spend money through it (`Origin`), or read it by DNS rebinding (`Host`).
"""

import ipaddress
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from penstock.config.schema import Server
from penstock.core.errors import ForbiddenError, InvalidRequestError, WrongMediaTypeError
from penstock.core.ports import Answer
from penstock.transports.http.visits import Headers, Visit

_EXPOSED: Final = (
    b"Penstock-Stream, Penstock-Ignored, x-request-id, Retry-After, x-ratelimit-limit-requests, "
    b"x-ratelimit-remaining-requests, x-ratelimit-reset-requests"
)
_METHODS: Final = "GET, HEAD, POST, DELETE, OPTIONS"


class Origins:
    """The rules of one configuration. `key_required`: whether there is any key by now."""

    def __init__(self, settings: Server, key_required: Callable[[], bool]) -> None:
        self._key_required = key_required
        self._any_address = settings.insecure
        self._hosts = {host.lower().rstrip(".") for host in settings.allowed_hosts}
        self._origins = {origin.lower().rstrip("/") for origin in settings.allowed_origins}

    def check(self, visit: Visit) -> None:
        """Adds the CORS headers of the answer, whatever it will be. Raises `ForbiddenError`."""
        host = visit.headers.get("host")
        if not self._key_required() and host is not None and not self._knows_host(host):
            raise ForbiddenError(
                "this Host is not allowed while no key is configured; see [server] allowed_hosts"
            )
        origin = visit.headers.get("origin")
        if origin is None:
            return
        if self._allows(origin, host or ""):
            visit.extra += _cors(origin)
        elif not self._key_required():
            raise ForbiddenError(
                "pages of this Origin may not call; see [server] allowed_origins", param="Origin"
            )

    def preflight(self, visit: Visit) -> Answer | None:
        """The answer to a browser's question before the request; `None` when it asks none."""
        origin = visit.headers.get("origin")
        if visit.method != "OPTIONS" or origin is None:
            return None
        if "access-control-request-method" not in visit.headers:
            return None
        if not self._allows(origin, visit.headers.get("host", "")):
            raise ForbiddenError(
                "pages of this Origin may not call; see [server] allowed_origins", param="Origin"
            )
        headers = {"access-control-allow-methods": _METHODS, "access-control-max-age": "600"}
        asked = visit.headers.get("access-control-request-headers")
        if asked:
            headers["access-control-allow-headers"] = asked
        if visit.headers.get("access-control-request-private-network") == "true":
            headers["access-control-allow-private-network"] = "true"
        return Answer(200, b"", "text/plain", headers)

    def _knows_host(self, host: str) -> bool:
        name = _host_name(host)
        if name in self._hosts or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address needs no resolver, so nobody can rebind it.
        return address.is_loopback or self._any_address

    def _allows(self, origin: str, host: str) -> bool:
        origin = origin.lower()
        if origin == "null":
            return self._key_required() and "null" in self._origins
        if host and origin in {f"http://{host.lower()}", f"https://{host.lower()}"}:
            return True
        return origin in self._origins or _without_port(origin) in self._origins


def check_media_type(visit: Visit, other: str = "") -> None:
    """Raises `WrongMediaTypeError`: a page may send JSON only as JSON. `other`: what else it may
    send to this route.

    Anything else needs no pre-flight, so a browser would send it from any page. Programs have no
    `Origin`, and may say what they like.
    """
    if "origin" not in visit.headers:
        return
    declared = visit.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared not in {"", "application/json", other}:
        raise WrongMediaTypeError(
            "the body must be declared as application/json", param="Content-Type"
        )


def is_loopback(visit: Visit) -> bool:
    """Whether the request was made on this machine, and by no proxy for somebody else."""
    if "forwarded" in visit.headers or "x-forwarded-for" in visit.headers:
        return False
    try:
        return ipaddress.ip_address(visit.client.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _cors(origin: str) -> Headers:
    try:
        value = origin.encode("ascii")
    except UnicodeEncodeError as error:
        raise InvalidRequestError("Origin is not ASCII", param="Origin") from error
    headers = [
        (b"access-control-allow-origin", value),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    ]
    if value.lower() != b"null":
        headers.append((b"access-control-allow-credentials", b"true"))
    return headers


def _host_name(host: str) -> str:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower().rstrip(".")


def _without_port(origin: str) -> str:
    try:
        parts = urlsplit(origin)
        name = parts.hostname or ""
    except ValueError:
        return ""
    name = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{name}"
