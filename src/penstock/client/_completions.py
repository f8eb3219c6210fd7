"""OpenAI's chat completions as a client sees them: the body to send, and the answer's events.

Source of the shapes: the API reference of `POST /chat/completions` and its streamed chunks, and the
variants that compatible servers send (`reasoning_content`, `reasoning`, flat `reasoning_tokens`).
"""

from typing import Final

import msgspec

from penstock.client._blocks import Blocks
from penstock.core.errors import EngineError, EngineProtocolError
from penstock.core.events import (
    Done,
    Event,
    Failed,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from penstock.core.messages import ImagePart, Message, TextPart
from penstock.core.request import ReplyFormat, Request, ToolChoice, ToolSpec
from penstock.wire import json

_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "filtered",
}
_REASONING_PART: Final = 0
_TEXT_PART: Final = 1
_FIRST_CALL_PART: Final = 2


class Received(msgspec.Struct, frozen=True, gc=False):
    """One event as it came: its raw text, what it said, and what was wrong with it if anything."""

    raw: bytes
    events: tuple[Event, ...] = ()
    trouble: str | None = None


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int | None = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Error(msgspec.Struct, gc=False):
    message: str | None = None
    code: str | int | None = None
    type: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: _Error | str | None = None


def body(request: Request, *, ask_usage: bool) -> dict[str, object]:
    """The body, its first keys in the order of the streaming demonstration."""
    sampling = request.sampling
    choice = request.tool_choice
    values: dict[str, object] = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "tools": [tool_body(tool) for tool in request.tools] or None,
        "tool_choice": _choice(choice) if choice is not None else None,
        "response_format": _format(request.reply_format) if request.reply_format else None,
        "reasoning_effort": request.effort,
        "stream_options": {"include_usage": True} if ask_usage else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def tool_body(tool: ToolSpec) -> dict[str, object]:
    """A tool as OpenAI's and Ollama's APIs take it."""
    function: dict[str, object] = {"name": tool.name, "description": tool.description or ""}
    if tool.parameters is not msgspec.UNSET:
        function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice) -> object:
    if choice.name is not None:
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode


def _format(wanted: ReplyFormat) -> dict[str, object]:
    if wanted.schema is msgspec.UNSET:
        return {"type": "json_object"}
    schema: dict[str, object] = {"name": wanted.name or "answer", "schema": wanted.schema}
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    return {"type": "json_schema", "json_schema": schema}


def _message(message: Message) -> dict[str, object]:
    values: dict[str, object] = {"role": message.role, "content": _content(message)}
    if message.name is not None:
        values["name"] = message.name
    if message.tool_call_id is not None:
        values["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        values["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return values


def _content(message: Message) -> object:
    if not any(isinstance(part, ImagePart) for part in message.parts):
        return message.text
    return [
        {"type": "text", "text": part.text}
        if isinstance(part, TextPart)
        else {"type": "image_url", "image_url": {"url": part.url}}
        for part in message.parts
    ]


class Completion:
    """Reads one streamed answer. What makes no sense is counted, named and skipped."""

    def __init__(self) -> None:
        self._blocks = Blocks()
        self._reason: FinishReason | None = None
        self._said_done = False
        self._failed = False
        self._calls: dict[tuple[int, int], str] = {}
        self.malformed = 0

    @property
    def finished(self) -> bool:
        """Whether nothing that counts can follow."""
        return self._said_done or self._failed

    def feed(self, data: bytes) -> list[Received]:
        """The events that `data` completes, malformed ones included."""
        try:
            return [self._read(said) for said in self._blocks.feed(data)]
        except ValueError as error:
            raise EngineProtocolError(f"the answer can't be read: {error}") from error

    def whole(self, data: bytes) -> Received:
        """The answer of a server that does not stream: one JSON object."""
        return self._read(data)

    def end(self) -> Done | Failed:
        """How it ended, once the body has. An answer that just stops is a failure."""
        if self._reason is not None or self._said_done:
            return Done(reason=self._reason or "stop")
        return Failed(
            code=EngineProtocolError.code,
            message="the answer stopped without saying that it was finished (no finish_reason and "
            "no [DONE]); what arrived may be incomplete",
            retryable=True,
        )

    @property
    def failed(self) -> bool:
        """Whether the server has said that it failed."""
        return self._failed

    def events(self, data: bytes) -> list[Event]:
        """The events alone; what makes no sense ends the answer with `Failed`, after all that came
        before it.
        """
        found: list[Event] = []
        try:
            for said in self._blocks.feed(data):
                self._parse(said, found)
        except (EngineProtocolError, ValueError) as error:
            self._failed = True
            found.append(
                Failed(
                    code=EngineProtocolError.code,
                    message=f"an event of the answer makes no sense: {error}",
                    retryable=True,
                )
            )
        return found

    def _read(self, data: bytes) -> Received:
        found: list[Event] = []
        try:
            self._parse(data, found)
        except EngineProtocolError as error:
            self.malformed += 1
            return Received(data, trouble=error.message)
        return Received(data, tuple(found))

    def _parse(self, data: bytes, found: list[Event]) -> None:
        if data[:1] != b"{" and data.strip() == b"[DONE]":
            self._said_done = True
            return
        chunk = json.decode(data, _Chunk, EngineProtocolError)
        if chunk.error is not None:
            self._failed = True
            found.append(_failure(chunk.error))
            return
        for choice in chunk.choices or ():
            self._choice(choice, found)
        if chunk.usage is not None:
            found.append(_usage(chunk.usage))

    def _choice(self, choice: _Choice, found: list[Event]) -> None:
        number = choice.index or 0
        delta = choice.delta or choice.message
        if delta is not None:
            reasoning = delta.reasoning_content or delta.reasoning
            if reasoning:
                found.append(ReasoningDelta(part=_REASONING_PART, text=reasoning, choice=number))
            if delta.content:
                found.append(TextDelta(part=_TEXT_PART, text=delta.content, choice=number))
            for place, call in enumerate(delta.tool_calls or ()):
                found.append(self._call(number, place, call))
        if choice.finish_reason is not None:
            self._reason = _REASONS.get(choice.finish_reason, "stop")

    def _call(self, number: int, place: int, call: _Call) -> ToolCallDelta:
        index = place if call.index is None else call.index
        key = self._calls.setdefault((number, index), call.id or f"call_{index}")
        function = call.function or _Function()
        return ToolCallDelta(
            part=_FIRST_CALL_PART + index,
            call=key,
            name=function.name,
            arguments=function.arguments or "",
            choice=number,
        )


def _failure(error: _Error | str) -> Failed:
    message = error if isinstance(error, str) else error.message or error.type or "no reason given"
    return Failed(
        code=EngineError.code, message=f"the server ended the answer with an error: {message}"
    )


def _usage(usage: _Usage) -> Usage:
    inputs = usage.prompt_tokens_details or _Details()
    outputs = usage.completion_tokens_details or _Details()
    return Usage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        reasoning_tokens=usage.reasoning_tokens or outputs.reasoning_tokens,
        cached_tokens=inputs.cached_tokens,
    )
