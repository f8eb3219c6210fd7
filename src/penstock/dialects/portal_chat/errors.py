"""Errors as the portal's FastAPI server writes them, with its own sentences where it has some."""

from typing import Final

from penstock.core.errors import (
    EngineError,
    GatewayError,
    InternalError,
    InvalidKeyError,
    InvalidRequestError,
    MissingKeyError,
    UnknownRouteError,
    UnknownSessionError,
    WrongMethodError,
)
from penstock.core.ports import Answer
from penstock.dialects._fastapi import Problem, body, problem, retry_after

_SENTENCES: Final[dict[str, str]] = {
    MissingKeyError.code: "Not authenticated",
    InvalidKeyError.code: "Could not validate credentials",
    UnknownSessionError.code: "Session not found",
    UnknownRouteError.code: "Not Found",
    WrongMethodError.code: "Method Not Allowed",
    InternalError.code: "Internal server error",
}
"""Code of ours → what the original says."""


class MalformedBodyError(InvalidRequestError):
    """A body that is not what its route takes: 422, as FastAPI's validation answers."""

    status = 422


def error_answer(error: GatewayError) -> Answer:
    """`{"detail": text}`; of a malformed body a list. A failed upstream is 503, as in the original.

    What only an engine or the gateway could find wrong with a request is 400 with a text.
    """
    headers: dict[str, str] = {}
    status = 503 if isinstance(error, EngineError) else error.status
    detail: str | tuple[Problem, ...] = _SENTENCES.get(error.code, error.message)
    if isinstance(error, MalformedBodyError):
        detail = (problem(error),)
    elif isinstance(error, WrongMethodError):
        headers["Allow"] = ", ".join(error.allow)
    elif status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None or status in (409, 429, 503):
        headers |= retry_after(error)
    return Answer(status, body(detail), headers=headers)
