"""Errors as the portal's FastAPI server writes them, with its own sentences where it has some."""

from typing import Final

from penstock.core.errors import (
    EngineError,
    GatewayError,
    InternalError,
    InvalidKeyError,
    InvalidRequestError,
    MissingKeyError,
    RequestTooLargeError,
    UnknownRouteError,
    UnknownSessionError,
    UnsupportedParameterError,
    WrongMediaTypeError,
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
_OF_A_BODY: Final = ("not valid JSON", "Expected `object`")
"""How `wire.json` begins what it says of a body as a whole."""
_PLAIN: Final = (UnsupportedParameterError, RequestTooLargeError, WrongMediaTypeError)


def error_answer(error: GatewayError) -> Answer:
    """`{"detail": text}`; of a malformed field a list, as FastAPI's validation answers.

    What an engine found wrong with a request is 400 with a text, a failed upstream 503, as in the
    original.
    """
    headers: dict[str, str] = {}
    status = 503 if isinstance(error, EngineError) else error.status
    detail: str | tuple[Problem, ...] = _SENTENCES.get(error.code, error.message)
    if _is_malformed(error):
        status, detail = 422, (problem(error),)
    elif isinstance(error, WrongMethodError):
        headers["Allow"] = ", ".join(error.allow)
    elif status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None or status in (409, 429, 503):
        headers |= retry_after(error)
    return Answer(status, body(detail), headers=headers)


def _is_malformed(error: GatewayError) -> bool:
    if not isinstance(error, InvalidRequestError) or isinstance(error, _PLAIN) or error.ran:
        return False
    return error.param is not None or error.message.startswith(_OF_A_BODY)
