"""What goes over the wire, and what the log keeps of how an answer is to be sent. JSON keys as the
original's: `sessionId`, `requestId`.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from penstock.core import events as ev
from penstock.core.errors import GatewayError

Form = Literal["text", "json", "hint"]


class Note(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an answer is sent; `Request.form` of an MQTT request, so that it survives the process.

    `key`: what a redelivery is known by. `given`: the client chose the id `request`. `correlation`:
    MQTT 5's correlation data, in hexadecimal.
    """

    project: str
    session: str
    request: str
    key: str
    reply: str
    form: Form = "text"
    stream: bool = False
    given: bool = False
    correlation: str = ""
    qos: int = 1


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error. `code` is one of `core.errors`; `retryAfter` in seconds."""

    code: str
    message: str
    retryable: bool = False
    param: str | None = None
    retryAfter: float | None = None  # noqa: N815 - the wire's own spelling


class Called(msgspec.Struct, frozen=True):
    """A tool call. `arguments`: an object, or the text where the model wrote none."""

    id: str
    name: str
    arguments: msgspec.Raw | str


class Whole(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An answer in JSON. With an `error`, `response` is as far as it got."""

    response: str | UnsetType = UNSET
    session_id: str
    request_id: str
    stream_id: str | UnsetType = UNSET
    tool_calls: tuple[Called, ...] | UnsetType = msgspec.field(default=UNSET, name="tool_calls")
    finish_reason: str | UnsetType = UNSET
    usage: ev.Usage | UnsetType = UNSET
    error: Problem | UnsetType = UNSET


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """A hint whose model wrote no JSON object, or none at all."""

    hint: str | UnsetType = UNSET
    tool_calls: tuple[Called, ...] | UnsetType = UNSET
    error: str | UnsetType = UNSET


class Trouble(msgspec.Struct, frozen=True, rename="camel"):
    """What is said on a stream's topic about a stream that there isn't."""

    request_id: str
    error: Problem


class Status(msgspec.Struct, frozen=True):
    """Of `PROJECT/status`; `ts` in seconds since the epoch."""

    service: str
    status: Literal["online", "offline"]
    ts: float


def problem(error: GatewayError) -> Problem:
    """An error that was raised."""
    return Problem(
        code=error.code,
        message=error.message,
        retryable=error.retryable,
        param=error.param,
        retryAfter=error.retry_after,
    )
