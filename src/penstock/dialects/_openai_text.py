"""Entries to `text_completion` frames, and a whole reply to one: the shape before chat's."""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from penstock.core import events as ev
from penstock.core.errors import from_code
from penstock.core.folding import ChoiceReply, Reply
from penstock.core.ports import Frame
from penstock.core.request import Request
from penstock.dialects._openai_encode import DONE
from penstock.dialects._openai_errors import error_body
from penstock.dialects._openai_logprobs import LegacyLogprobs, Offsets
from penstock.dialects._openai_usage import (
    FINISH,
    Backend,
    FinishReason,
    Usage,
    backend_of,
    stop_reason,
    usage_of,
)
from penstock.wire import json

ECHO: Final = "echo"
"""`Request.form` of one whose prompt comes back before the answer."""

_OBJECT: Final = "text_completion"
_TEXT_MARK: Final = b'"text":""'


class Choice(msgspec.Struct, frozen=True):
    """One choice, of a chunk and of a whole completion alike. `stop_reason` is vLLM's field."""

    text: str
    index: int
    logprobs: LegacyLogprobs | None = None
    finish_reason: FinishReason | None = None
    stop_reason: str | UnsetType = UNSET


class TextCompletion(msgspec.Struct, frozen=True):
    """A whole completion, and a chunk of one: they share one shape.

    `backend` is in a whole one only; `usage` is there, as `null`, in every chunk of who asked.
    """

    id: str
    object: str
    created: int
    choices: tuple[Choice, ...]
    model: str
    usage: Usage | UnsetType | None = UNSET
    backend: Backend | UnsetType = UNSET


class Encoder:
    """Renders one stream as chunks of text. Thoughts, calls and pictures have no place in it."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._start = ev.Start(stream="", asked="", binding="", model="", created=0)
        self._around: dict[int, tuple[bytes, bytes]] = {}
        self._offsets: dict[int, Offsets] = {}
        self._finished: set[int] = set()
        self._usage: ev.Usage | None = None

    def feed(self, entry: ev.Entry) -> Iterable[Frame]:
        """The frames of one entry."""
        event = entry.event
        if isinstance(event, ev.TextDelta) and event.logprobs is UNSET:
            around = self._around.get(event.choice)
            if around is None:
                around = self._surroundings(event.choice)
            return (Frame(around[0] + json.encode(event.text) + around[1]),)
        return self._rest(event)

    def _rest(self, event: ev.Event) -> list[Frame]:
        frames: list[Frame] = []
        match event:
            case ev.Start():
                self._start = event
                if self._request.form == ECHO:
                    prompt = prompt_of(self._request)
                    frames = [self._choice(Choice(prompt, n)) for n in self._numbers()]
            case ev.TextDelta():
                frames = [self._choice(self._scored(event))]
            case ev.Usage():
                self._usage = event
            case ev.Finish(choice=choice, reason=reason):
                frames = [self._finish(choice, reason)]
            case ev.Failed(code=code, message=message, param=param):
                frames = [Frame(error_body(from_code(code, message, param)))]
            case ev.Done(reason=reason):
                frames = self._end(reason)
            case ev.ReasoningDelta() | ev.ToolCallDelta() | ev.Progress() | ev.Image():
                pass  # the API has no words for these
        return frames

    def _numbers(self) -> range:
        return range(self._request.choices)

    def _surroundings(self, choice: int) -> tuple[bytes, bytes]:
        # The first key of a choice, and inside a JSON string the mark's quotes would be escaped.
        before, mark, after = self._choice(Choice("", choice)).data.partition(_TEXT_MARK)
        around = (before + mark[:-2], after)
        self._around[choice] = around
        return around

    def _scored(self, delta: ev.TextDelta) -> Choice:
        offsets = self._offsets.get(delta.choice)
        if offsets is None:
            offsets = self._offsets[delta.choice] = Offsets(self._request)
        scores = () if delta.logprobs is UNSET else (delta.logprobs,)
        return Choice(delta.text, delta.choice, offsets.legacy(scores))

    def _finish(self, choice: int, reason: ev.FinishReason) -> Frame:
        self._finished.add(choice)
        return self._choice(_ended("", choice, None, reason))

    def _end(self, reason: ev.FinishReason) -> list[Frame]:
        frames = [self._finish(n, reason) for n in self._numbers() if n not in self._finished]
        if self._request.include_usage and self._usage is not None:
            frames.append(self._chunk((), usage_of(self._usage)))
        return [*frames, DONE]

    def _choice(self, choice: Choice) -> Frame:
        return self._chunk((choice,))

    def _chunk(self, choices: tuple[Choice, ...], usage: Usage | None = None) -> Frame:
        start = self._start
        counts = usage if self._request.include_usage else UNSET
        chunk = TextCompletion(
            _identifier(start),
            _OBJECT,
            start.created // 1000,
            choices,
            start.asked or start.model,
            counts,
        )
        return Frame(json.encode(chunk))


def text_completion(request: Request, start: ev.Start, reply: Reply) -> bytes:
    """A whole reply as JSON."""
    choices = reply.choices or (ChoiceReply(),)
    found = TextCompletion(
        id=_identifier(start),
        object=_OBJECT,
        created=start.created // 1000,
        choices=tuple(_completed(request, n, choice) for n, choice in enumerate(choices)),
        model=start.asked or start.model,
        usage=UNSET if reply.usage is None else usage_of(reply.usage),
        backend=backend_of(start),
    )
    return json.encode(found)


def prompt_of(request: Request) -> str:
    """The text that the model continues."""
    return request.messages[0].text if request.messages else ""


def _completed(request: Request, index: int, choice: ChoiceReply) -> Choice:
    text = prompt_of(request) + choice.text if request.form == ECHO else choice.text
    scores = Offsets(request).legacy(choice.logprobs) if choice.logprobs else None
    return _ended(text, index, scores, choice.reason or "stop")


def _ended(text: str, index: int, scores: LegacyLogprobs | None, reason: ev.FinishReason) -> Choice:
    # The API knows no calls, so an answer that ended with one has simply stopped.
    said = FINISH["stop" if reason == "tool_calls" else reason]
    return Choice(text, index, scores, said, stop_reason(reason))


def _identifier(start: ev.Start) -> str:
    return f"cmpl-{start.stream}"
