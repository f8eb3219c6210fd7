"""Ollama's `/api/chat` and `/api/tags` as a client sees them (its docs/api.md). No I/O."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw

from penstock.client._completions import tool_body
from penstock.core.cards import ModelCard
from penstock.core.errors import (
    EngineError,
    EngineProtocolError,
    InvalidRequestError,
    UnsupportedParameterError,
)
from penstock.core.events import (
    Done,
    Event,
    Failed,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    Timings,
    ToolCallDelta,
    Usage,
)
from penstock.core.messages import ImagePart, Message
from penstock.core.request import Request
from penstock.wire import json
from penstock.wire.lines import Lines

_OPTIONS: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "max_tokens": "num_predict",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repeat_penalty": "repeat_penalty",
}
_REASONS: Final[dict[str, FinishReason]] = {"length": "length"}


class _Function(msgspec.Struct, gc=False):
    name: str = ""
    arguments: Raw = Raw(b"{}")


class _Call(msgspec.Struct, gc=False):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(msgspec.Struct, gc=False):
    message: _Message | None = None
    done: bool | None = None
    done_reason: str | None = None
    error: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    load_duration: int | None = None
    prompt_eval_duration: int | None = None
    eval_duration: int | None = None


class _Details(msgspec.Struct):
    family: str | None = None
    parameter_size: str | None = None
    quantization_level: str | None = None


class _Tag(msgspec.Struct):
    name: str
    size: int | None = None
    digest: str | None = None
    details: _Details | None = None


class _Tags(msgspec.Struct):
    models: list[_Tag]


def models(data: bytes) -> Sequence[ModelCard]:
    """Of `GET /api/tags`. Raises `EngineProtocolError`."""
    found = []
    for tag in json.decode(data, _Tags, EngineProtocolError).models:
        details = tag.details or _Details()
        found.append(
            ModelCard(
                name=tag.name,
                size=tag.size,
                digest=tag.digest,
                family=details.family or None,
                parameter_size=details.parameter_size or None,
                quantization=details.quantization_level or None,
            )
        )
    return tuple(found)


def body(request: Request) -> dict[str, object]:
    """The body of `POST /api/chat`. Raises `UnsupportedParameterError` for what it can't say."""
    if request.tool_choice is not None and request.tool_choice.mode != "auto":
        raise UnsupportedParameterError("Ollama can't be made to call a tool", param="tool_choice")
    options: dict[str, object] = {
        theirs: value
        for ours, theirs in _OPTIONS.items()
        if (value := getattr(request.sampling, ours)) is not None
    }
    if request.sampling.stop:
        options["stop"] = list(request.sampling.stop)
    wanted = request.reply_format
    values: dict[str, object] = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "tools": [tool_body(tool) for tool in request.tools] or None,
        "format": None if wanted is None else _format(wanted.schema),
        "think": None if request.effort is None else request.effort != "none",
        "options": options or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _format(schema: Raw | msgspec.UnsetType) -> object:
    return "json" if schema is msgspec.UNSET else schema


def _message(message: Message) -> dict[str, object]:
    values: dict[str, object] = {"role": message.role, "content": message.text}
    pictures = [part.url or "" for part in message.parts if isinstance(part, ImagePart)]
    if any(not url.startswith("data:") for url in pictures):
        raise UnsupportedParameterError(
            "Ollama takes pictures as base64 `data:` addresses only", param="messages"
        )
    if pictures:
        values["images"] = [url.partition(",")[2] for url in pictures]
    if message.tool_calls:
        values["tool_calls"] = [
            {"function": {"name": call.name, "arguments": _object(call.arguments)}}
            for call in message.tool_calls
        ]
    if message.role == "tool" and message.name is not None:
        values["tool_name"] = message.name
    return values


def _object(arguments: str) -> dict[str, object]:
    return json.decode(arguments or "{}", dict[str, object], InvalidRequestError)


class Chat:
    """Reads one streamed answer."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._calls = 0
        self.finished = False

    def feed(self, data: bytes) -> list[Event]:
        """The events of the lines that `data` completes. What makes no sense ends the answer with
        `Failed`.
        """
        found: list[Event] = []
        try:
            for line in self._lines.feed(data):
                if line.strip() and not self.finished:
                    self._line(json.decode(line, _Line, EngineProtocolError), found)
        except (EngineProtocolError, ValueError) as error:
            self.finished = True
            message = f"a line of the answer makes no sense: {error}"
            found.append(Failed(code=EngineProtocolError.code, message=message, retryable=True))
        return found

    def end(self) -> list[Event]:
        """How it ended, once the body has. An answer that just stops is a failure."""
        if self.finished:
            return []
        self.finished = True
        message = "the answer stopped without a line that says `done`; it may be incomplete"
        return [Failed(code=EngineProtocolError.code, message=message, retryable=True)]

    def _line(self, line: _Line, found: list[Event]) -> None:
        if line.error is not None:
            self.finished = True
            message = f"the server ended the answer with an error: {line.error}"
            found.append(Failed(code=EngineError.code, message=message))
            return
        if line.message is not None:
            self._message(line.message, found)
        if line.done:
            self.finished = True
            if line.eval_count is not None or line.prompt_eval_count is not None:
                found.append(_usage(line))
            called: FinishReason = "tool_calls" if self._calls else "stop"
            found.append(Done(reason=_REASONS.get(line.done_reason or "", called)))

    def _message(self, message: _Message, found: list[Event]) -> None:
        if message.thinking:
            found.append(ReasoningDelta(part=0, text=message.thinking))
        if message.content:
            found.append(TextDelta(part=1, text=message.content))
        for call in message.tool_calls or ():
            found.append(
                ToolCallDelta(
                    part=2 + self._calls,
                    call=call.id or f"call_{self._calls}",
                    name=call.function.name,
                    arguments=bytes(call.function.arguments).decode(),
                )
            )
            self._calls += 1


def _usage(line: _Line) -> Usage:
    return Usage(
        input_tokens=line.prompt_eval_count or 0,
        output_tokens=line.eval_count or 0,
        timings=Timings(
            load=line.load_duration or 0,
            prompt=line.prompt_eval_duration or 0,
            generation=line.eval_duration or 0,
        ),
    )
