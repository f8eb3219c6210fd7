"""What goes wrong between us and an upstream, in our own words: exceptions and HTTP statuses."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from penstock.core.errors import (
    BindingDownError,
    EngineError,
    EngineProtocolError,
    EngineRefusedError,
    EngineTimeoutError,
    GatewayError,
    InvalidRequestError,
    OverloadedError,
    RequestTooLargeError,
    UnknownModelError,
)
from penstock.engines import _said
from penstock.engines._plain import CannotConnectError, UnknownHostError

_TROUBLE: Final = (
    aiohttp.ClientError,
    HttpProcessingError,
    aiohttp.EofStream,
    aiohttp.WebSocketError,
    aiohttp.WSMessageTypeError,
    OSError,
)
"""Everything that aiohttp raises for reasons that lie outside this program."""


@contextmanager
def our_errors(address: str) -> Iterator[None]:
    """Lets only `GatewayError` out. `address` is shown to clients: no user info, no query."""
    try:
        yield
    except _TROUBLE as error:
        raise translated(error, address) from error


_Rule = tuple[tuple[type[BaseException], ...], type[GatewayError], str]

_RULES: Final[tuple[_Rule, ...]] = (
    (
        (aiohttp.ClientConnectorDNSError, UnknownHostError),
        BindingDownError,
        "can't reach {at}: no such host",
    ),
    (
        (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch),
        BindingDownError,
        "can't reach {at}: its certificate is not accepted",
    ),
    (
        (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError),
        BindingDownError,
        "can't reach {at}: the proxy does not let us through",
    ),
    (
        (aiohttp.ClientConnectorError, CannotConnectError),
        BindingDownError,
        "can't reach {at}: {why}",
    ),
    (
        (aiohttp.ConnectionTimeoutError,),
        EngineTimeoutError,
        "can't reach {at}: no answer to the connection attempt",
    ),
    ((TimeoutError,), EngineTimeoutError, "{at} was silent for too long"),
    (
        (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError),
        BindingDownError,
        "{at} is no address that can be called",
    ),
    (
        (aiohttp.ServerDisconnectedError, ConnectionError),
        EngineError,
        "{at} closed the connection",
    ),
    (
        (aiohttp.ClientPayloadError,),
        EngineError,
        "{at} broke off in the middle of its answer",
    ),
    (
        (aiohttp.ClientResponseError, HttpProcessingError),
        EngineProtocolError,
        "{at} does not speak proper HTTP",
    ),
    ((OSError,), EngineError, "the connection to {at} broke: {why}"),
)
"""The first rule that fits says what it is."""


def translated(error: BaseException, address: str) -> GatewayError:
    """One of ours for an exception of aiohttp's or of the socket's. Total: never raises."""
    for kinds, ours, text in _RULES:
        if isinstance(error, kinds):
            return ours(text.format(at=address, why=_reason(error)))
    return EngineError(f"the connection to {address} broke")


def _reason(error: BaseException) -> str:
    """Without the parts that name addresses and descriptors."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused, is it running?"
    if isinstance(cause, TimeoutError):
        return "no answer to the connection attempt"
    return (getattr(cause, "strerror", None) or type(cause).__name__).lower()


_STATUSES: Final[dict[int, tuple[type[GatewayError], str]]] = {
    400: (InvalidRequestError, "the upstream refused the request"),
    401: (EngineRefusedError, "the upstream refused our key (HTTP 401), is `key` right?"),
    403: (EngineRefusedError, "the upstream forbids this request (HTTP 403)"),
    404: (EngineRefusedError, "the upstream has no such route (HTTP 404), is `url` right?"),
    405: (EngineRefusedError, "the upstream has no such route (HTTP 405), is `url` right?"),
    408: (EngineTimeoutError, "the upstream was too slow (HTTP 408)"),
    413: (RequestTooLargeError, "the request is too large for the upstream"),
    422: (InvalidRequestError, "the upstream refused the request"),
    429: (OverloadedError, "the upstream is busy"),
    504: (EngineTimeoutError, "the upstream was too slow (HTTP 504)"),
}


def refusal(status: int, headers: Mapping[str, str], body: bytes, mask: _said.Mask) -> GatewayError:
    """The error that an HTTP status other than 200 stands for, with the upstream's own words."""
    said = _said.words(body, mask)
    if status == 404 and "model" in said.lower():
        return UnknownModelError(f"the upstream has no such model: {said}", param="model")
    found = _STATUSES.get(status)
    if found is None:
        found = _by_hundred(status)
    ours, text = found
    wait = retry_after(headers.get("Retry-After"))
    blamed = _said.param(body) if issubclass(ours, InvalidRequestError) else None
    return ours(f"{text}: {said}" if said else text, param=blamed, retry_after=wait)


def _by_hundred(status: int) -> tuple[type[GatewayError], str]:
    if status >= 500:
        return EngineError, f"the upstream failed (HTTP {status})"
    if status >= 400:
        return EngineRefusedError, f"the upstream refused (HTTP {status})"
    if status >= 300:
        return EngineRefusedError, (
            f"the upstream redirects (HTTP {status}), which is not followed: write the address "
            "it points to as `url`"
        )
    return EngineProtocolError, f"the upstream answered HTTP {status}, not 200"


def retry_after(value: str | None) -> float | None:
    """Seconds from a `Retry-After` header, which holds seconds or a date. At most a day."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value).astimezone(UTC) - _now()).total_seconds()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), 86400.0) if seconds == seconds else None


def _now() -> datetime:
    return datetime.now(UTC)
