"""`{"error": "…"}`, with statuses that Ollama's clients take well."""

from math import ceil
from typing import Final

import msgspec

from penstock.core.errors import (
    EngineError,
    GatewayError,
    InterruptedRunError,
    UnknownModelError,
    UnknownStreamError,
    UnsupportedParameterError,
    WrongMethodError,
)
from penstock.core.ports import Answer
from penstock.wire import json

_DEPENDENCY: Final = 424
"""Of a run that failed. A client with retries on 5xx would run the same prompt four times
(the released OllamaClient does).
"""
_NO_CONTEXT: Final = "context: the conversation that it stands for is not here (any more)"
_WORDS: Final = {
    "response_format": "format",
    "reasoning_effort": "think",
    "messages": "images",
}
"""What the gateway calls a field that a binding can't honour, and what it is called here."""


class ErrorBody(msgspec.Struct, frozen=True):
    """What a failed request is answered with, and the last line of a failed stream."""

    error: str


def error_body(error: GatewayError) -> bytes:
    """The error object. Clients look for "not found" in that of an unknown model."""
    message = error.message
    if isinstance(error, UnknownStreamError):
        message = _NO_CONTEXT
    if isinstance(error, UnsupportedParameterError) and error.param in _WORDS:
        message = message.replace(f"images ({error.param})", "images")
        message = message.replace(error.param, _WORDS[error.param])
    if isinstance(error, UnknownModelError) and "not found" not in message:
        message = f"model not found: {message}"
    return json.encode(ErrorBody(message))


def error_answer(error: GatewayError) -> Answer:
    """An error before the stream has begun."""
    headers: dict[str, str] = {}
    status = error.status
    if isinstance(error, EngineError | InterruptedRunError) or (error.ran and status == 500):
        status = _DEPENDENCY
    if isinstance(error, UnknownStreamError):
        # 404 is what clients take for a model that isn't there.
        status = 400
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None or status in (409, 429, 503):
        headers["Retry-After"] = str(max(1, ceil(error.retry_after or 1)))
    if isinstance(error, WrongMethodError):
        headers["Allow"] = ", ".join(error.allow)
    return Answer(status, error_body(error), headers=headers)
