"""Errors as FastAPI writes them, which is what lollms_server is made of."""

from typing import Final

from penstock.core.errors import (
    GatewayError,
    InvalidKeyError,
    InvalidRequestError,
    MissingKeyError,
    RequestTooLargeError,
    UnknownRouteError,
    UnsupportedParameterError,
    WrongMediaTypeError,
    WrongMethodError,
)
from penstock.core.ports import Answer
from penstock.dialects._fastapi import Problem, body, problem, retry_after
from penstock.dialects.lollms.shapes import Parameters, PictureParameters

_PARAMETERS: Final = frozenset(
    (*Parameters.__struct_fields__, *PictureParameters.__struct_fields__)
)
"""What an engine may find wrong; lollms' clients say it within `parameters`."""
_OURS: Final = {
    "messages": "input_data",
    "image": "input_data",
    "mask": "input_data",
    "model": "model_name",
}
"""What engines call otherwise. A place within is theirs too: one message may be several items."""

_PLAIN: Final = (UnsupportedParameterError, RequestTooLargeError, WrongMediaTypeError)


def error_answer(error: GatewayError) -> Answer:
    """A malformed body is 422 with a list, a missing key 403; the rest is as the class says."""
    headers: dict[str, str] = {}
    status = error.status
    detail: str | tuple[Problem, ...] = error.message
    if isinstance(error, InvalidRequestError) and not isinstance(error, _PLAIN):
        status, detail = 422, (_problem(error),)
    elif isinstance(error, MissingKeyError):
        status = 403
    elif isinstance(error, InvalidKeyError):
        headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, UnknownRouteError):
        detail = "Not Found"
    elif isinstance(error, WrongMethodError):
        detail = "Method Not Allowed"
        headers["Allow"] = ", ".join(error.allow)
    if error.retry_after is not None or status in (429, 503):
        headers |= retry_after(error)
    return Answer(status, body(detail), headers=headers)


def _problem(error: InvalidRequestError) -> Problem:
    said = error.param or ""
    first = said.partition(".")[0].partition("[")[0]
    if first not in _PARAMETERS and first not in _OURS:
        return problem(error)
    message = error.message.removeprefix(f"{said}: ")
    param = _OURS.get(first) or f"parameters.{said}"
    return problem(InvalidRequestError(message, param=param))
