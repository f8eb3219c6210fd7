"""Entries to lines of `/api/generate`, `/api/chat` and `/api/pull`; replies to whole answers."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from penstock.core import events as ev
from penstock.core.errors import from_code
from penstock.core.folding import Folder, Reply
from penstock.core.messages import ToolCall
from penstock.core.ports import Frame
from penstock.core.request import Request
from penstock.dialects import _tools
from penstock.dialects.ollama import continuing, errors
from penstock.dialects.ollama.parse import GENERATE
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


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How long it took, in nanoseconds, and how many tokens. What nobody knows is left out."""

    total_duration: int
    load_duration: int
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
    logprobs: Raw | UnsetType = UNSET
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
    logprobs: Raw | UnsetType = UNSET
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


def moment(ms: int) -> str:
    """Milliseconds since the epoch as RFC 3339."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


class Encoder:
    """Renders one stream. Calls leave whole, in one line, as Ollama's own do."""

    def __init__(self, request: Request) -> None:
        self._generate = request.form == GENERATE
        self._fetch = request.task != "generate"
        self._folder = Folder()
        self._start = ev.Start(stream="", asked="", binding="", model="", created=0)
        self._model = b""

    def feed(self, entry: ev.Entry) -> Iterable[Frame]:
        """The frames of one entry."""
        self._folder.feed(entry)
        event = entry.event
        match event:
            case ev.Start():
                self._start = event
            case ev.TextDelta(text=text, choice=0, logprobs=logprobs):
                if text or logprobs is not UNSET:
                    return (self._line(entry.ms, text, logprobs=logprobs),)
            case ev.ReasoningDelta(text=text, choice=0):
                if text:
                    return (self._line(entry.ms, "", thinking=text),)
            case ev.Progress(what="fetching"):
                if self._fetch:
                    return (Frame(json.encode(_status(event))),)
            case ev.Failed():
                return (Frame(errors.error_body(from_code(event.code, event.message))),)
            case ev.Done():
                return self._end()
            case _:
                pass  # told at the end, or nothing that Ollama has a word for
        return ()

    def _line(
        self,
        ms: int,
        text: str,
        *,
        thinking: str = "",
        logprobs: Raw | UnsetType = UNSET,
        calls: tuple[Called, ...] = (),
    ) -> Frame:
        model, created = name(self._start), moment(self._start.created + ms)
        if self._generate:
            line: Generated | Chatted = Generated(
                model=model,
                created_at=created,
                response=text,
                thinking=thinking or UNSET,
                done=False,
                logprobs=logprobs,
            )
        else:
            message = Message("assistant", text, thinking, calls)
            line = Chatted(
                model=model, created_at=created, message=message, done=False, logprobs=logprobs
            )
        return Frame(json.encode(line))

    def _end(self) -> list[Frame]:
        if self._fetch:
            return []  # the store has said "success" itself
        reply = self._folder.reply()
        calls = called(reply)
        frames = []
        if calls and not self._generate:
            frames.append(self._line(reply.ms, "", calls=calls))
        ending = (
            generated(reply, "") if self._generate else chatted(reply, Message("assistant", ""))
        )
        return [*frames, Frame(json.encode(ending))]


def name(start: ev.Start) -> str:
    """The model as the client called it."""
    return start.asked or start.model


def _status(progress: ev.Progress) -> Status:
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


def whole(request: Request, reply: Reply) -> bytes:
    """The answer in one piece."""
    if request.task != "generate":
        return SUCCESS
    choice = reply.first
    logprobs = _joined(choice.logprobs)
    if request.form == GENERATE:
        found = generated(reply, choice.text)
        thinking = choice.reasoning or UNSET
        return json.encode(msgspec.structs.replace(found, thinking=thinking, logprobs=logprobs))
    message = Message("assistant", choice.text, choice.reasoning, called(reply))
    return json.encode(msgspec.structs.replace(chatted(reply, message), logprobs=logprobs))


def _joined(arrays: tuple[Raw, ...]) -> Raw | UnsetType:
    if not arrays:
        return UNSET
    return json.raw(b"[" + b",".join([bytes(array).strip()[1:-1] for array in arrays]) + b"]")


def generated(reply: Reply, text: str) -> Generated:
    """The last line of `/api/generate`, or the whole answer."""
    start = _start_of(reply)
    return Generated(
        model=name(start),
        created_at=moment(start.created + reply.ms),
        response=text,
        done=True,
        done_reason=_reason(reply),
        context=continuing.context_of(start.stream),
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
    prompt = told.prompt if told is not None else first
    generation = told.generation if told is not None else total - first
    if usage is None:
        return Figures(total_duration=total, load_duration=load)
    return Figures(
        total_duration=max(total, load + prompt + generation),
        load_duration=load,
        prompt_eval_count=usage.input_tokens,
        prompt_eval_duration=prompt,
        eval_count=usage.output_tokens,
        eval_duration=generation,
    )
