"""What went wrong with a connection or an answer, as our errors, saying what to do."""

from typing import Final

import aiohttp
import msgspec

from penstock.core.errors import (
    EngineError,
    EngineProtocolError,
    EngineTimeoutError,
    ForbiddenError,
    GatewayError,
    InvalidKeyError,
    InvalidRequestError,
    ModalityError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
)
from penstock.core.secrets import Secret
from penstock.wire import json

_LONGEST: Final = 500


class _Named(msgspec.Struct):
    message: str | None = None
    param: str | None = None


class _Body(msgspec.Struct):
    error: _Named | str | None = None
    detail: msgspec.Raw | None = None
    message: str | None = None


def refusal(status: int, body: bytes, retry_after: str | None, key: Secret | None) -> GatewayError:
    """The error of an HTTP answer that is none of 2xx. The key is never part of its text."""
    said, param = _said(body)
    text = masked(f"HTTP {status}: {said}" if said else f"HTTP {status}", key)
    wait = _seconds(retry_after)
    kind, advice = _advice(status, wait, has_key=key is not None)
    return kind(f"{advice} ({text})", param=param, retry_after=wait)


def _advice(status: int, wait: float | None, *, has_key: bool) -> tuple[type[GatewayError], str]:
    again = f"try again in {wait:g} s" if wait is not None else "try again later"
    known: dict[int, tuple[type[GatewayError], str]] = {
        401: (InvalidKeyError, "the key was refused; check it" if has_key else "a key is needed"),
        403: (ForbiddenError, "not allowed; check the key and what it may do"),
        404: (NotFoundError, "not found; check the model's name and the address"),
        429: (OverloadedError, f"too many requests; {again}"),
        501: (ModalityError, "nothing there makes what was asked for"),
        503: (UnavailableError, f"the server can't answer now; {again}"),
    }
    if status in known:
        return known[status]
    if status >= 500:
        return EngineError, "the server failed; try again, or look at its log"
    if status >= 400:
        return InvalidRequestError, "the server refused the request"
    return EngineProtocolError, "an answer of no use; check the address"


def lost(error: BaseException, url: str) -> GatewayError:
    """The error of a connection that could not be made, or broke."""
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
        return EngineTimeoutError(f"no connection to {url} in time; check address and network")
    if isinstance(error, aiohttp.InvalidURL):
        return InvalidRequestError(f"{url!r} is no address; it looks like http://HOST:PORT/v1")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return UnavailableError(f"no safe connection to {url}: {error}; check its certificate")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return UnavailableError(f"no such host: {url}; check the address and the network")
    if isinstance(error, aiohttp.ClientConnectorError):
        return UnavailableError(
            f"nothing answers at {url} ({error.strerror or error}); is the server running there?"
        )
    return UnavailableError(f"the connection to {url} was cut; try again ({_kind(error)})")


def masked(text: str, key: Secret | None) -> str:
    """The text without the key, should the peer have echoed it."""
    return text.replace(key.reveal(), "***") if key is not None else text


def _kind(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _said(data: bytes) -> tuple[str, str | None]:
    """Message and field of an error body, in any of the shapes that servers use."""
    try:
        body = json.decode(data, _Body, EngineProtocolError)
    except EngineProtocolError:
        text = data.decode(errors="replace").strip()
        return ("" if text.startswith("<") else text[:_LONGEST]), None
    if isinstance(body.error, _Named):
        return (body.error.message or "")[:_LONGEST], body.error.param
    if body.error is not None:
        return body.error[:_LONGEST], None
    if body.detail is not None:
        detail = bytes(body.detail).decode(errors="replace")
        return detail.strip('"')[:_LONGEST], None
    return (body.message or "")[:_LONGEST], None


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text is not None else None
    except ValueError:
        return None
