"""Errors in OpenAI's words. Statuses are our own classes'."""

from math import ceil
from typing import Final

import msgspec

from penstock.core.errors import GatewayError, WrongMethodError
from penstock.core.ports import Answer
from penstock.wire import json

_INVALID: Final = "invalid_request_error"
_SERVER: Final = "server_error"
_BUSY: Final = "service_unavailable_error"

KINDS: Final[dict[str, tuple[str, str | None]]] = {
    "internal_error": (_SERVER, "internal_error"),
    "invalid_request": (_INVALID, None),
    "unsupported_parameter": (_INVALID, "unsupported_parameter"),
    "request_too_large": (_INVALID, "request_too_large"),
    "wrong_media_type": (_INVALID, "wrong_media_type"),
    "missing_key": ("authentication_error", "missing_api_key"),
    "invalid_key": ("authentication_error", "invalid_api_key"),
    "forbidden": ("permission_error", "forbidden"),
    "not_found": (_INVALID, "not_found"),
    "unknown_model": (_INVALID, "model_not_found"),
    "unknown_binding": (_INVALID, "unknown_binding"),
    "unknown_personality": (_INVALID, "unknown_personality"),
    "unknown_stream": (_INVALID, "unknown_stream"),
    "unknown_route": (_INVALID, "unknown_url"),
    "unknown_session": (_INVALID, "unknown_session"),
    "session_busy": (_INVALID, "session_busy"),
    "wrong_method": (_INVALID, "method_not_supported"),
    "request_timeout": (_INVALID, "request_timeout"),
    "overloaded": ("rate_limit_error", "rate_limit_exceeded"),
    "headers_too_large": (_INVALID, "headers_too_large"),
    "engine_failed": (_SERVER, "engine_failed"),
    "engine_protocol": (_SERVER, "engine_protocol"),
    "engine_refused": (_SERVER, "engine_refused"),
    "engine_timeout": (_SERVER, "engine_timeout"),
    "unsupported_modality": (_INVALID, "unsupported_modality"),
    "unavailable": (_BUSY, "unavailable"),
    "binding_down": (_BUSY, "binding_down"),
    "log_unavailable": (_BUSY, "log_unavailable"),
    "log_full": (_BUSY, "log_full"),
    "interrupted": (_SERVER, "interrupted"),
    "config": (_SERVER, "config"),
}
"""Code of ours → `type` and `code`."""


class ErrorObject(msgspec.Struct, frozen=True):
    """All four keys, always."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct, frozen=True):
    """What a failed request is answered with, and the last event of a failed stream."""

    error: ErrorObject


def error_body(error: GatewayError) -> bytes:
    """The error object, in its body."""
    return json.encode(ErrorBody(error_object(error)))


def error_object(error: GatewayError) -> ErrorObject:
    """An error in OpenAI's words. A class of somebody else's is told as its nearest known one."""
    code = next((cls.code for cls in _line(error) if cls.code in KINDS), "internal_error")
    kind, name = KINDS[code]
    param = error.param or ("model" if code == "unknown_model" else None)
    return ErrorObject(error.message, kind, param, name)


def _line(error: GatewayError) -> list[type[GatewayError]]:
    return [cls for cls in type(error).__mro__ if issubclass(cls, GatewayError)]


def error_answer(error: GatewayError) -> Answer:
    """An error before the stream has begun."""
    headers: dict[str, str] = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None or error.status in (429, 503):
        headers["Retry-After"] = str(max(1, ceil(error.retry_after or 1)))
    if isinstance(error, WrongMethodError):
        headers["Allow"] = ", ".join(error.allow)
    return Answer(error.status, error_body(error), headers=headers)
