"""Entries to `StreamChunk` frames, and a whole reply to lollms' envelope (1.5 and 1.6)."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from penstock.core import events as ev
from penstock.core.folding import ChoiceReply, Folder, Reply
from penstock.core.ports import Frame
from penstock.core.request import Request
from penstock.dialects import _tools
from penstock.wire import json

_REQUEST_ID: Final = 16
_HEX: Final = frozenset("0123456789abcdef")


class StreamChunk(msgspec.Struct, frozen=True):
    """One frame. All four keys, always."""

    type: Literal["chunk", "final", "error", "info", "function_call"]
    content: object = None
    thoughts: str | None = None
    metadata: dict[str, object] = {}


class OutputData(msgspec.Struct, frozen=True):
    """An item of a `final` frame: with its nulls."""

    type: Literal["text", "json", "error"]
    data: object
    mime_type: str | None = None
    thoughts: str | None = None
    metadata: dict[str, object] = {}


class WholeOutputData(msgspec.Struct, frozen=True):
    """The same item in a whole answer: without them."""

    type: str
    data: object
    thoughts: str | UnsetType = UNSET
    metadata: dict[str, object] = {}


class Envelope(msgspec.Struct, frozen=True):
    """The whole answer. `execution_time` in seconds."""

    personality: str | UnsetType
    request_id: str
    output: tuple[WholeOutputData, ...]
    execution_time: float


class CalledTool(msgspec.Struct, frozen=True):
    """A call that the model made; `arguments` is an object, or what it wrote when that is none."""

    id: str
    name: str
    arguments: object


_MARK: Final = b"null"
_CHUNK_HEAD, _, _CHUNK_TAIL = json.encode(StreamChunk("chunk")).partition(_MARK)


class Encoder:
    """Renders one stream. The `final` frame is made of the same fold as a whole answer."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._folder = Folder()

    def feed(self, entry: ev.Entry) -> Iterable[Frame]:
        """The frames of one entry."""
        self._folder.feed(entry)
        event = entry.event
        if isinstance(event, ev.TextDelta) and not event.choice:
            return (Frame(_CHUNK_HEAD + json.encode(event.text) + _CHUNK_TAIL),)
        return self._rest(event)

    def _rest(self, event: ev.Event) -> list[Frame]:
        frames: list[Frame] = []
        match event:
            case ev.ReasoningDelta(text=text, choice=0):
                frames = [_frame(StreamChunk("chunk", None, text))] if text else []
            case ev.Progress():
                frames = [_frame(_info(event))]
            case ev.Failed(code=code, message=message):
                error = StreamChunk("error", message, metadata={"code": code})
                frames = [_frame(error), self._final()]
            case ev.Done():
                calls = _calls(self._request, self._folder.reply())
                frames = [_frame(StreamChunk("function_call", call)) for call in calls]
                frames.append(self._final())
            case ev.Start() | ev.ToolCallDelta() | ev.Usage() | ev.Finish():
                pass  # told in the frames of others
            case ev.TextDelta() | ev.ReasoningDelta():
                pass  # another choice: there is room for one
            case ev.Image():
                pass  # text only, for now
        return frames

    def _final(self) -> Frame:
        reply = self._folder.reply()
        metadata: dict[str, object] = {"request_id": request_id(reply)}
        return _frame(StreamChunk("final", outputs(self._request, reply), metadata=metadata))


def _frame(chunk: StreamChunk) -> Frame:
    return Frame(json.encode(chunk))


def _info(progress: ev.Progress) -> StreamChunk:
    """What is waited for, in words; the figures, where there are any, in `metadata`."""
    words = {
        "queued": "waiting in the queue",
        "loading": "loading model",
        "step": "working",
        "fetching": "fetching model",
    }
    metadata: dict[str, object] = {}
    if progress.at or progress.of:
        metadata = {"status": progress.what, "at": progress.at, "of": progress.of}
    return StreamChunk("info", progress.text or words[progress.what], metadata=metadata)


def _calls(request: Request, reply: Reply) -> list[CalledTool]:
    """The client's calls, once they are whole: after a failure or a cancel the last may be cut.

    Those of the server's own functions were answered here, and are told by `info` frames.
    """
    if reply.failed or reply.first.reason == "cancelled":
        return []
    answered = {name.replace(".", "__") for name in request.functions}
    return [
        CalledTool(call.id, call.name, _tools.arguments(call.arguments))
        for call in reply.first.tool_calls
        if call.name not in answered
    ]


def request_id(reply: Reply) -> str:
    """16 hexadecimal digits: the first of the stream's id, or of its hash where it has others."""
    stream = reply.start.stream if reply.start else ""
    digits = stream if len(stream) >= _REQUEST_ID and _HEX.issuperset(stream) else ""
    return (digits or sha256(stream.encode()).hexdigest())[:_REQUEST_ID]


def outputs(request: Request, reply: Reply) -> list[OutputData]:
    """The items of a reply: text, then calls, then what went wrong. The first tells the rest."""
    choice = reply.first
    found: list[OutputData] = []
    calls = _calls(request, reply)
    metadata = _metadata(request, reply, choice)
    if choice.text or choice.reasoning or not (calls or reply.failed):
        found.append(_output("text", choice.text, metadata, choice.reasoning or None))
        metadata = {}
    if calls:
        found.append(_output("json", {"tool_calls": calls}, metadata))
    if reply.failed:
        code: dict[str, object] = {"code": reply.failed.code}
        found.append(_output("error", reply.failed.message, code | metadata))
    return found


def _output(
    kind: Literal["text", "json", "error"],
    data: object,
    metadata: dict[str, object],
    thoughts: str | None = None,
) -> OutputData:
    return OutputData(kind, data, None, thoughts, metadata)


def _metadata(request: Request, reply: Reply, choice: ChoiceReply) -> dict[str, object]:
    found: dict[str, object] = {}
    if reply.start:
        found |= {"model_used": reply.start.model, "binding_instance": reply.start.binding}
    found["finish_reason"] = "error" if reply.failed else choice.reason
    if reply.usage:
        found["usage"] = _usage(reply.usage)
    if request.ignored:
        found["ignored"] = list(request.ignored)
    return found


def _usage(usage: ev.Usage) -> dict[str, object]:
    found: dict[str, object] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    for name in ("reasoning_tokens", "cached_tokens"):
        if getattr(usage, name) is not None:
            found[name] = getattr(usage, name)
    return found


def envelope(request: Request, reply: Reply) -> bytes:
    """A whole reply as JSON."""
    output = [
        WholeOutputData(item.type, item.data, item.thoughts or UNSET, item.metadata)
        for item in outputs(request, reply)
    ]
    found = Envelope(
        personality=request.personality or UNSET,
        request_id=request_id(reply),
        output=tuple(output),
        execution_time=reply.ms / 1000,
    )
    return json.encode(found)
