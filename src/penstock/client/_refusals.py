"""What a server says against a request, as our errors, saying what to do."""

from typing import Final

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
    SessionBusyError,
    UnavailableError,
    UnknownModelError,
    WrongMethodError,
    error_classes,
)
from penstock.core.secrets import Secret
from penstock.wire import json

_LONGEST: Final = 500


class _Named(msgspec.Struct):
    code: object = None
    message: str | None = None
    param: str | None = None


class _Body(msgspec.Struct):
    error: _Named | str | None = None
    detail: object = None
    message: str | None = None


def refusal(status: int, body: bytes, retry_after: str | None, key: Secret | None) -> GatewayError:
    """The error of an HTTP answer that is none of 2xx. The key is never part of its text."""
    said, param, code = _said(body)
    text = masked(f"HTTP {status}: {said}" if said else f"HTTP {status}", key)
    wait = _seconds(retry_after)
    kind, advice = _advice(status, wait, has_key=key is not None)
    kind = _exact(kind, code)
    return kind(f"{advice} ({text})", param=param, retry_after=wait)


def _advice(status: int, wait: float | None, *, has_key: bool) -> tuple[type[GatewayError], str]:
    again = f"try again in {wait:g} s" if wait is not None else "try again later"
    known: dict[int, tuple[type[GatewayError], str]] = {
        401: (InvalidKeyError, "the key was refused; check it" if has_key else "a key is needed"),
        403: (ForbiddenError, "not allowed; check the key and what it may do"),
        404: (NotFoundError, "not found; check the model's name and the address"),
        409: (SessionBusyError, f"a turn of this session still runs; {again}"),
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


def silent(url: str, seconds: float) -> GatewayError:
    """The error of a server that took a request and said nothing."""
    return EngineTimeoutError(
        f"{url} took the request and gave no sign within {seconds:g} s; raise the timeout, or see "
        "what the server is doing"
    )


def closed() -> GatewayError:
    """The error of a client that was closed."""
    return InvalidRequestError("the client was closed: make another one")


def masked(text: str, key: Secret | None) -> str:
    """The text without the key, should the peer have echoed it."""
    return text.replace(key.reveal(), "***") if key is not None else text


def _exact(kind: type[GatewayError], code: object) -> type[GatewayError]:
    """The class of a Penstock's own code, where that is more than the status says."""
    if code == "model_not_found":  # as OpenAI says it
        code = UnknownModelError.code
    found = next((one for one in error_classes() if one.code == code), kind)
    exact = issubclass(found, kind) and found is not WrongMethodError
    return found if exact else kind


def _said(data: bytes) -> tuple[str, str | None, object]:
    """Message, field and code of an error body, in any of the shapes that servers use."""
    try:
        body = json.decode(data, _Body, EngineProtocolError)
    except EngineProtocolError:
        text = data.decode(errors="replace").strip()
        return ("" if text.startswith("<") else text[:_LONGEST]), None, None
    if isinstance(body.error, _Named):
        return (body.error.message or "")[:_LONGEST], body.error.param, body.error.code
    if body.error is not None:
        return body.error[:_LONGEST], None, None
    if body.detail is not None:
        detail = body.detail
        text = detail if isinstance(detail, str) else json.encode(detail).decode()
        return text[:_LONGEST], None, None
    return (body.message or "")[:_LONGEST], None, None


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text is not None else None
    except ValueError:
        return None
