"""Errors as FastAPI writes them, which is what lollms_server is made of."""

import re
from math import ceil
from typing import Final

import msgspec

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
from penstock.wire import json

_PLAIN: Final = (UnsupportedParameterError, RequestTooLargeError, WrongMediaTypeError)
_STEPS: Final = re.compile(r"[^.\[\]]+|\[\d*\]")


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a body; `loc` is the path to it."""

    type: str
    loc: tuple[str | int, ...]
    msg: str


class Detail(msgspec.Struct, frozen=True):
    """The body of every error."""

    detail: str | tuple[Problem, ...]


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
        headers["Retry-After"] = str(max(1, ceil(error.retry_after or 1)))
    return Answer(status, json.encode(Detail(detail)), headers=headers)


def _problem(error: GatewayError) -> Problem:
    """`wire.json` says in fixed words what was wrong with the JSON; pydantic has names for it."""
    if error.param is None and error.message.startswith("not valid JSON"):
        kind = "json_invalid"
    elif "required" in error.message:
        kind = "missing"
    else:
        kind = "value_error"
    message = error.message.removeprefix(f"{error.param}: ")
    return Problem(kind, ("body", *_steps(error.param or "")), message)


def _steps(param: str) -> list[str | int]:
    """`input_data[0].role` → `input_data`, 0, `role`."""
    return [
        int(step[1:-1]) if step[1:-1].isdigit() and step[0] == "[" else step
        for step in _STEPS.findall(param)
        if step != "[]"
    ]
