"""What stands in a line of `/api/generate`, `/api/chat` and `/api/pull` (Ollama's api/types.go)."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from penstock.core import events as ev
from penstock.core.errors import InternalError
from penstock.core.folding import Reply
from penstock.core.messages import ToolCall
from penstock.core.request import Request
from penstock.dialects import _tools
from penstock.dialects.ollama import continuing
from penstock.wire import json

_MS: Final = 1_000_000
_REASONS: Final = {"tool_calls": "stop", "filtered": "content_filter"}


class Function(msgspec.Struct, frozen=True):
    """`arguments` is an object; text that is none stands in one, under `raw`."""

    index: int
    name: str
    arguments: object


class Called(msgspec.Struct, frozen=True):
    """A call that the model made."""

    id: str
    function: Function


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """The message of a chat line."""

    role: str
    content: str
    thinking: str = ""
    tool_calls: tuple[Called, ...] = ()


class Token(msgspec.Struct, frozen=True, omit_defaults=True):
    """A token that might have been said. `bytes`, its UTF-8, may be part of a character."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None


class Scored(Token, frozen=True, omit_defaults=True):
    """A token that was said, and the likeliest in its place, where they were asked for."""

    top_logprobs: tuple[Token, ...] = ()


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How long it took, in nanoseconds, and how many tokens. What nobody knows is left out."""

    total_duration: int
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET


class Generated(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `/api/generate`."""

    model: str
    created_at: str
    response: str
    thinking: str | UnsetType = UNSET
    done: bool
    done_reason: str | UnsetType = UNSET
    context: list[int] | UnsetType = UNSET
    logprobs: tuple[Scored, ...] | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET


class Chatted(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `/api/chat`."""

    model: str
    created_at: str
    message: Message
    done: bool
    done_reason: str | UnsetType = UNSET
    logprobs: tuple[Scored, ...] | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of `/api/pull` and `/api/create`."""

    status: str
    digest: str = ""
    total: int = 0
    completed: int | UnsetType = UNSET


SUCCESS: Final = json.encode(Status("success"))
CANCELLED: Final = json.encode(Status("cancelled"))
"""Ollama has no word for a pull that somebody stopped; its clients show any."""


def second(ms: int) -> str:
    """The second of a time in milliseconds since the epoch, as RFC 3339 begins it."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}"


def moment(ms: int) -> str:
    """The same to the millisecond."""
    return f"{second(ms)}.{ms % 1000:03d}Z"


def name(start: ev.Start) -> str:
    """The model as the client called it."""
    return start.asked or start.model


def status(progress: ev.Progress) -> Status:
    """How far a model has come."""
    done: int | UnsetType = progress.at if progress.of else UNSET
    return Status(progress.text, progress.digest, progress.of, done)


def called(reply: Reply) -> tuple[Called, ...]:
    """The calls, once they are whole: after a cancel the last one may be cut."""
    if reply.first.reason == "cancelled":
        return ()
    return tuple(_called(n, call) for n, call in enumerate(reply.first.tool_calls))


def _called(n: int, call: ToolCall) -> Called:
    arguments = _tools.arguments(call.arguments)
    found = arguments if isinstance(arguments, Raw) else {"raw": arguments}
    return Called(call.id, Function(n, call.name, found))


class _Told(Token, frozen=True):
    top_logprobs: tuple[Token, ...] | None = None


def scored(arrays: Iterable[Raw], most: int) -> tuple[Scored, ...] | UnsetType:
    """OpenAI's arrays of tokens as Ollama's, each with at most `most` of the likeliest."""
    found = [
        Scored(one.token, one.logprob, one.bytes, (one.top_logprobs or ())[:most])
        for array in arrays
        for one in _told(array)
    ]
    return tuple(found) if found else UNSET


def _told(array: Raw) -> list[_Told]:
    """None of what an upstream said that is no such array: the text counts."""
    try:
        return json.decode(bytes(array), list[_Told], InternalError)
    except InternalError:
        return []


def generated(request: Request, reply: Reply, text: str) -> Generated:
    """The last line of `/api/generate`, or the whole answer. A raw request gets no `context`."""
    start = _start_of(reply)
    return Generated(
        model=name(start),
        created_at=moment(start.created + reply.ms),
        response=text,
        done=True,
        done_reason=_reason(reply),
        context=UNSET if request.raw else continuing.context_of(start.stream),
        **msgspec.structs.asdict(figures(reply)),
    )


def chatted(reply: Reply, message: Message) -> Chatted:
    """The last line of `/api/chat`, or the whole answer."""
    start = _start_of(reply)
    return Chatted(
        model=name(start),
        created_at=moment(start.created + reply.ms),
        message=message,
        done=True,
        done_reason=_reason(reply),
        **msgspec.structs.asdict(figures(reply)),
    )


def _start_of(reply: Reply) -> ev.Start:
    return reply.start or ev.Start(stream="", asked="", binding="", model="", created=0)


def _reason(reply: Reply) -> str:
    reason = reply.first.reason or "stop"
    return _REASONS.get(reason, reason)


def figures(reply: Reply) -> Figures:
    """The engine's own times where it told them, else those of the stream in the log."""
    usage, total = reply.usage, reply.ms * _MS
    told = usage.timings if usage is not None else None
    first = (reply.first_ms if reply.first_ms is not None else reply.ms) * _MS
    load = told.load if told is not None else 0
    loaded: int | UnsetType = load if told is not None else UNSET
    prompt = told.prompt if told is not None else first
    generation = told.generation if told is not None else total - first
    if usage is None:
        return Figures(total_duration=total, load_duration=loaded)
    return Figures(
        total_duration=max(total, load + prompt + generation),
        load_duration=loaded,
        prompt_eval_count=usage.input_tokens,
        prompt_eval_duration=prompt,
        eval_count=usage.output_tokens,
        eval_duration=generation,
    )
