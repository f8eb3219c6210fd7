"""Entries to `chat.completion.chunk` frames, and a whole reply to a `chat.completion`."""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from penstock.core import events as ev
from penstock.core.errors import from_code
from penstock.core.folding import ChoiceReply, Reply
from penstock.core.messages import ToolCall
from penstock.core.ports import Answer, Frame
from penstock.core.request import Request
from penstock.dialects import _openai_pictures
from penstock.dialects._openai_errors import error_body
from penstock.dialects._openai_pictures import PicturePart
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

DONE: Final = Frame(b"[DONE]")
_TEXT_MARK: Final = b'"content":""'


class FunctionDelta(msgspec.Struct, frozen=True):
    """A fragment of a call; `arguments` fragments join to one JSON text."""

    name: str | UnsetType = UNSET
    arguments: str = ""


class CallDelta(msgspec.Struct, frozen=True):
    """The first of each call carries `id`, `type` and the name."""

    index: int
    id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    function: FunctionDelta = FunctionDelta()


class Delta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a choice gains."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[CallDelta, ...] | None = None
    images: tuple[PicturePart, ...] | None = None


class Logprobs(msgspec.Struct, frozen=True):
    """`content` is an array of tokens."""

    content: Raw
    refusal: None = None


class ChunkChoice(msgspec.Struct, frozen=True):
    """One choice of a chunk. `stop_reason` is vLLM's field."""

    index: int
    delta: Delta
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None = None
    stop_reason: str | UnsetType = UNSET


class Chunk(msgspec.Struct, frozen=True):
    """One event of a stream. `usage` is there, as `null`, in every chunk of who asked for it.

    `backend` is in the first chunk of each choice only.
    """

    id: str
    object: str
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    usage: Usage | UnsetType | None = UNSET
    backend: Backend | UnsetType = UNSET


class CalledFunction(msgspec.Struct, frozen=True):
    """A function's name, and its arguments as JSON text."""

    name: str
    arguments: str


class Call(msgspec.Struct, frozen=True):
    """A whole call."""

    id: str
    type: str
    function: CalledFunction


class AssistantMessage(msgspec.Struct, frozen=True):
    """A whole answer. `content` is `null` when there are only calls."""

    role: str
    content: str | None
    refusal: None = None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: tuple[Call, ...] | UnsetType = UNSET
    images: tuple[PicturePart, ...] | UnsetType = UNSET


class CompletionChoice(msgspec.Struct, frozen=True):
    """One choice of a whole completion."""

    index: int
    message: AssistantMessage
    logprobs: Logprobs | None
    finish_reason: FinishReason
    stop_reason: str | UnsetType = UNSET


class Completion(msgspec.Struct, frozen=True):
    """A whole completion."""

    id: str
    object: str
    created: int
    model: str
    choices: tuple[CompletionChoice, ...]
    usage: Usage | UnsetType = UNSET
    backend: Backend | UnsetType = UNSET


class Encoder:
    """Renders one stream as chunks.

    A piece of text, by far the most frequent event, is put between two pieces of JSON that were
    rendered once for its choice; everything else goes through the structs.
    """

    def __init__(self, request: Request) -> None:
        self._choices = request.choices
        self._usage_wanted = request.include_usage
        self._start = ev.Start(stream="", asked="", binding="", model="", created=0)
        self._around: dict[int, tuple[bytes, bytes]] = {}
        self._calls: dict[int, list[int]] = {}
        self._finished: set[int] = set()
        self._usage: ev.Usage | None = None
        self._pictured = _openai_pictures.told(request)
        self._images: dict[int, int] = {}

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
                frames = [self._hello(n) for n in range(self._choices)]
            case ev.TextDelta(text=text, choice=choice, logprobs=logprobs):
                frames = [self._choice(choice, Delta(content=text), logprobs)]
            case ev.ReasoningDelta(text=text, choice=choice):
                # Without text it is a signature only, which the API has no place for.
                frames = [self._choice(choice, Delta(reasoning_content=text))] if text else []
            case ev.ToolCallDelta(choice=choice):
                frames = [self._choice(choice, Delta(tool_calls=(self._call(event),)))]
            case ev.Usage():
                self._usage = event
            case ev.Finish(choice=choice, reason=reason):
                frames = [self._finish(choice, reason)]
            case ev.Failed(code=code, message=message, param=param):
                frames = [Frame(error_body(from_code(code, message, param)))]
            case ev.Done(reason=reason):
                frames = self._end(reason)
            case ev.Image() if self._pictured:
                frames = [self._image(event)]
            case ev.Progress() | ev.Image():
                pass  # the API has no words for these
        return frames

    def _image(self, image: ev.Image) -> Frame:
        n = self._images.get(image.choice, 0)
        self._images[image.choice] = n + 1
        frame = self._choice(image.choice, Delta(images=(_openai_pictures.part(image, n),)))
        return Frame(frame.data, pictures=_openai_pictures.shown((image,)))

    def _hello(self, choice: int) -> Frame:
        first = ChunkChoice(choice, Delta(role="assistant", content=""))
        return self._chunk((first,), backend=backend_of(self._start))

    def _surroundings(self, choice: int) -> tuple[bytes, bytes]:
        # Inside a JSON string the mark's quotes would be escaped, so it is found only once.
        before, mark, after = self._choice(choice, Delta(content="")).data.partition(_TEXT_MARK)
        around = (before + mark[:-2], after)
        self._around[choice] = around
        return around

    def _call(self, delta: ev.ToolCallDelta) -> CallDelta:
        parts = self._calls.setdefault(delta.choice, [])
        if delta.part in parts:
            function = FunctionDelta(delta.name or UNSET, delta.arguments)
            return CallDelta(parts.index(delta.part), function=function)
        parts.append(delta.part)
        function = FunctionDelta(delta.name or "", delta.arguments)
        return CallDelta(len(parts) - 1, delta.call, "function", function)

    def _finish(self, choice: int, reason: ev.FinishReason) -> Frame:
        self._finished.add(choice)
        why = stop_reason(reason)
        return self._chunk((ChunkChoice(choice, Delta(), None, FINISH[reason], why),))

    def _end(self, reason: ev.FinishReason) -> list[Frame]:
        frames = [
            self._finish(choice, reason)
            for choice in range(self._choices)
            if choice not in self._finished
        ]
        if self._usage_wanted and self._usage is not None:
            frames.append(self._chunk((), usage_of(self._usage)))
        return [*frames, DONE]

    def _choice(self, choice: int, delta: Delta, logprobs: Raw | UnsetType = UNSET) -> Frame:
        found = None if logprobs is UNSET else Logprobs(logprobs)
        return self._chunk((ChunkChoice(choice, delta, found),))

    def _chunk(
        self,
        choices: tuple[ChunkChoice, ...],
        usage: Usage | None = None,
        backend: Backend | UnsetType = UNSET,
    ) -> Frame:
        start = self._start
        chunk = Chunk(
            identifier(start),
            "chat.completion.chunk",
            start.created // 1000,
            start.asked or start.model,
            choices,
            usage if self._usage_wanted else UNSET,
            backend,
        )
        return Frame(json.encode(chunk))


def identifier(start: ev.Start) -> str:
    """A completion's id, made of its stream's."""
    return f"chatcmpl-{start.stream}"


def completion(request: Request, start: ev.Start, reply: Reply) -> Answer:
    """A whole reply."""
    choices = reply.choices or (ChoiceReply(),)
    if not _openai_pictures.told(request):
        choices = tuple(msgspec.structs.replace(choice, images=()) for choice in choices)
    found = Completion(
        id=identifier(start),
        object="chat.completion",
        created=start.created // 1000,
        model=start.asked or start.model,
        choices=tuple(_completed(n, choice) for n, choice in enumerate(choices)),
        usage=UNSET if reply.usage is None else usage_of(reply.usage),
        backend=backend_of(start),
    )
    images = tuple(image for choice in choices for image in choice.images)
    return Answer(200, json.encode(found), pictures=_openai_pictures.shown(images))


def _completed(index: int, choice: ChoiceReply) -> CompletionChoice:
    calls = tuple(_call(call) for call in choice.tool_calls)
    message = AssistantMessage(
        role="assistant",
        content=choice.text or (None if calls else ""),
        reasoning_content=choice.reasoning or UNSET,
        tool_calls=calls or UNSET,
        images=tuple(_openai_pictures.part(image, n) for n, image in enumerate(choice.images))
        or UNSET,
    )
    return CompletionChoice(
        index=index,
        message=message,
        logprobs=_joined(choice.logprobs),
        finish_reason=FINISH[choice.reason or "stop"],
        stop_reason=stop_reason(choice.reason),
    )


def _call(call: ToolCall) -> Call:
    return Call(call.id, "function", CalledFunction(call.name, call.arguments))


def _joined(arrays: tuple[Raw, ...]) -> Logprobs | None:
    if not arrays:
        return None
    inner = [bytes(array).strip()[1:-1].strip() for array in arrays]
    return Logprobs(json.raw(b"[" + b",".join(text for text in inner if text) + b"]"))
