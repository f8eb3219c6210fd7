"""Errors as FastAPI writes them: `{"detail": …}`, and what is wrong with a body as a list."""

import re
from math import ceil
from typing import Final

import msgspec

from penstock.core.errors import GatewayError
from penstock.wire import json

_STEPS: Final = re.compile(r"[^.\[\]]+|\[\d*\]")


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a body; `loc` is the path to it."""

    type: str
    loc: tuple[str | int, ...]
    msg: str


class Detail(msgspec.Struct, frozen=True):
    """The body of every error."""

    detail: str | tuple[Problem, ...]


def body(detail: str | tuple[Problem, ...]) -> bytes:
    """`{"detail": …}`."""
    return json.encode(Detail(detail))


def problem(error: GatewayError) -> Problem:
    """`wire.json` says in fixed words what was wrong with the JSON; pydantic has names for it."""
    if error.param is None and error.message.startswith("not valid JSON"):
        kind = "json_invalid"
    elif "required" in error.message:
        kind = "missing"
    else:
        kind = "value_error"
    message = error.message.removeprefix(f"{error.param}: ")
    return Problem(kind, ("body", *_steps(error.param or "")), message)


def retry_after(error: GatewayError) -> dict[str, str]:
    """The header of an error that passes, in whole seconds."""
    return {"Retry-After": str(max(1, ceil(error.retry_after or 1)))}


def _steps(param: str) -> list[str | int]:
    """`input_data[0].role` → `input_data`, 0, `role`."""
    return [
        int(step[1:-1]) if step[1:-1].isdigit() and step[0] == "[" else step
        for step in _STEPS.findall(param)
        if step != "[]"
    ]
