"""Entries to `StreamChunk` frames, and a whole reply to lollms' envelope (1.5 and 1.6)."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from penstock.core import events as ev
from penstock.core.folding import ChoiceReply, Folder, Reply
from penstock.core.ports import Frame, Shown
from penstock.core.request import Request
from penstock.dialects import _tools
from penstock.dialects.lollms import pictures
from penstock.wire import json
from penstock.wire.pictures import PLACE

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

    type: Literal["text", "image", "json", "error"]
    data: object
    mime_type: str | None = None
    thoughts: str | None = None
    metadata: dict[str, object] = {}


class WholeOutputData(msgspec.Struct, frozen=True):
    """The same item in a whole answer: without them."""

    type: str
    data: object = UNSET
    mime_type: str | UnsetType = UNSET
    thoughts: str | UnsetType = UNSET
    metadata: dict[str, object] = {}


class Envelope(msgspec.Struct, frozen=True):
    """The whole answer. `execution_time` in seconds; the last four of a legacy picture only."""

    personality: str | UnsetType
    request_id: str
    output: tuple[WholeOutputData, ...]
    execution_time: float
    image_base64: Raw | UnsetType = UNSET
    mime_type: str | UnsetType = UNSET
    prompt_used: str | UnsetType = UNSET
    model: str | UnsetType = UNSET


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
                frames = [self._progress(event)]
            case ev.Start() if self._request.modality == "image":
                begun = pictures.begun(self._request, event)
                frames = [_frame(StreamChunk("info", begun))]
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
                pass  # shown by the final frame; an answer of text has no place for it
        return frames

    def _progress(self, event: ev.Progress) -> Frame:
        told = _info(event)
        if event.preview is None or self._request.modality != "image":
            return _frame(told)
        kind = event.preview.media_type
        seen = {"status": event.what, **told.metadata, "preview": PLACE, "mime_type": kind}
        told = msgspec.structs.replace(told, metadata=seen)
        return _frame(told, (Shown(event.preview),))

    def _final(self) -> Frame:
        reply = self._folder.reply()
        metadata: dict[str, object] = {"request_id": request_id(reply)}
        final = StreamChunk("final", outputs(self._request, reply), metadata=metadata)
        return _frame(final, pictures.shown(self._request, reply))


def _frame(chunk: StreamChunk, shown: tuple[Shown, ...] = ()) -> Frame:
    return Frame(json.encode(chunk), pictures=shown)


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
    """The items of a reply: text, pictures, calls, what went wrong. The first tells the rest."""
    choice = reply.first
    found: list[OutputData] = []
    calls = _calls(request, reply)
    metadata = _metadata(request, reply, choice)
    painted = request.modality == "image"
    if choice.text or choice.reasoning or not (painted or calls or reply.failed):
        found.append(_output("text", choice.text, metadata, choice.reasoning or None))
        metadata = {}
    for image in pictures.images(request, reply):
        one = pictures.picture(request, reply, image)
        told = one.metadata | metadata
        found.append(OutputData("image", one.data, one.mime_type, None, told))
        metadata = {}
    if calls:
        found.append(_output("json", {"tool_calls": calls}, metadata))
    if reply.failed:
        code: dict[str, object] = {"code": reply.failed.code}
        found.append(_output("error", reply.failed.message, code | metadata))
    elif painted and not choice.images:
        found.append(_output("error", pictures.nothing(reply), metadata))
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
    made: dict[str, object] = {} if usage.images is None else {"images": usage.images}
    if made and not (usage.input_tokens or usage.output_tokens):
        return made  # its engine counts no tokens
    found: dict[str, object] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    for name in ("reasoning_tokens", "cached_tokens"):
        if getattr(usage, name) is not None:
            found[name] = getattr(usage, name)
    return found | made


def envelope(request: Request, reply: Reply) -> bytes:
    """A whole reply as JSON, with a place for each of `pictures.shown_whole`."""
    output = [
        WholeOutputData(
            item.type,
            item.data,
            item.mime_type or UNSET,
            item.thoughts or UNSET,
            item.metadata,
        )
        for item in outputs(request, reply)
    ]
    found = Envelope(
        personality=request.personality or UNSET,
        request_id=request_id(reply),
        output=tuple(output),
        execution_time=reply.ms / 1000,
    )
    images = pictures.images(request, reply)
    if request.legacy and images:
        found = _legacy(found, pictures.drawn(request, images[0]))
    return json.encode(found)


def _legacy(found: Envelope, drawn: str) -> Envelope:
    """The first picture stands beside `output`, which keeps what is known of it, not its bytes."""
    n = next(n for n, item in enumerate(found.output) if item.type == "image")
    first = found.output[n]
    told = msgspec.structs.replace(first, data=UNSET)
    return msgspec.structs.replace(
        found,
        output=(*found.output[:n], told, *found.output[n + 1 :]),
        image_base64=PLACE,
        mime_type=first.mime_type,
        prompt_used=drawn,
        model=str(first.metadata["model"]),
    )
