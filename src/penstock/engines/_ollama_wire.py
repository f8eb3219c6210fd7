"""The lines of Ollama's `/api/chat` and `/api/generate` as events (its docs/api.md). Sans I/O."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw

from penstock.core import events as ev
from penstock.core.errors import EngineProtocolError
from penstock.engines import _parts, _said
from penstock.engines._think import ThinkTags
from penstock.wire import json

_REASONS: Final[dict[str, ev.FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "filtered",
}
_BROKEN: Final = "cancelled"
"""These last two are said by a Penstock, and never by Ollama: somebody there ended the answer."""


class _Function(msgspec.Struct, frozen=True, gc=False):
    name: str | None = None
    arguments: Raw = Raw(b"{}")


class _Call(msgspec.Struct, frozen=True, gc=False):
    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct, frozen=True):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(msgspec.Struct, frozen=True):
    message: _Message | None = None
    response: str | None = None
    done: bool | None = None
    done_reason: str | None = None
    error: object = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    load_duration: int | None = None
    prompt_eval_duration: int | None = None
    eval_duration: int | None = None


class Lines:
    """The events of one answer's lines. It ends once: after a terminal it gives nothing more.

    `think_tags`: whether `<think>` at the beginning of an answer opens reasoning, as models do
    whose template Ollama does not know. `mask` takes our secrets out of what the upstream says.
    """

    def __init__(self, *, think_tags: bool = True, mask: _said.Mask = _said.unmasked) -> None:
        self._think = ThinkTags() if think_tags else None
        self._mask = mask
        self._calls = 0
        self.ended = False
        """Whether the terminal was given."""

    def feed(self, data: bytes) -> list[ev.Event]:
        """The events of one line."""
        if self.ended:
            return []
        try:
            line = json.decode(data, _Line, EngineProtocolError)
            if line.error:
                return self._close(_said.failure(line.error, self._mask))
            found: list[ev.Event] = []
            if line.message is not None:
                self._message(line.message, found)
            if line.response:
                found.append(ev.TextDelta(part=_parts.TEXT, text=line.response))
        except EngineProtocolError as error:
            return self._fail(f"the upstream sent a line that makes no sense: {error.message}")
        if line.done:
            found += self._last(line)
        return found

    def end(self) -> list[ev.Event]:
        """The end of a stream that had none: `Failed`, unless it was given before."""
        return self._fail("the upstream's stream ended without a line that says `done`")

    def _message(self, message: _Message, found: list[ev.Event]) -> None:
        if message.thinking:
            if self._think is not None:
                self._think.give_up()
                self._think = None
            found.append(ev.ReasoningDelta(part=_parts.REASONING, text=message.thinking))
        if message.content:
            if self._think is None:
                found.append(ev.TextDelta(part=_parts.TEXT, text=message.content))
            else:
                self._tagged(self._think, message.content, found)
        if message.tool_calls:
            self._called(message.tool_calls, found)

    def _tagged(self, think: ThinkTags, content: str, found: list[ev.Event]) -> None:
        found += [_delta(thinking, text) for thinking, text in think.feed(content)]
        if think.passed:
            self._think = None

    def _called(self, calls: Sequence[_Call], found: list[ev.Event]) -> None:
        for call in calls:
            function = call.function or _Function()
            found.append(
                ev.ToolCallDelta(
                    part=_parts.call(0, self._calls),
                    call=call.id or _parts.call_id(0, self._calls),
                    name=function.name or "",
                    arguments=_arguments(bytes(function.arguments)),
                )
            )
            self._calls += 1

    def _last(self, line: _Line) -> list[ev.Event]:
        if line.done_reason == _BROKEN:
            return self._close(_said.failure("the answer was cancelled there"))
        reason = _REASONS.get(line.done_reason or "stop", "stop")
        if self._calls and reason == "stop":
            # Ollama has no reason of its own for it.
            reason = "tool_calls"
        if line.eval_count is None and line.prompt_eval_count is None:
            return self._close(ev.Done(reason=reason))
        usage = ev.Usage(
            input_tokens=line.prompt_eval_count or 0,
            output_tokens=line.eval_count or 0,
            timings=_timings(line),
        )
        return self._close(ev.Done(reason=reason), usage)

    def _fail(self, message: str) -> list[ev.Event]:
        code, retryable = EngineProtocolError.code, EngineProtocolError.retryable
        return self._close(ev.Failed(code=code, message=message, retryable=retryable))

    def _close(
        self, terminal: ev.Done | ev.Failed, usage: ev.Usage | None = None
    ) -> list[ev.Event]:
        if self.ended:
            return []
        self.ended = True
        found: list[ev.Event] = []
        if self._think is not None:
            found += [_delta(thinking, text) for thinking, text in self._think.end()]
        if usage is not None:
            found.append(usage)
        return [*found, terminal]


def _timings(line: _Line) -> ev.Timings | None:
    """`None` of a server that measures nothing: no time at all would be a lie."""
    told = (line.load_duration, line.prompt_eval_duration, line.eval_duration)
    if not any(told):
        return None
    load, prompt, generation = (time or 0 for time in told)
    return ev.Timings(load=load, prompt=prompt, generation=generation)


def _delta(thinking: bool, text: str) -> ev.Event:
    if thinking:
        return ev.ReasoningDelta(part=_parts.REASONING, text=text)
    return ev.TextDelta(part=_parts.TEXT, text=text)


def _arguments(data: bytes) -> str:
    """JSON text of an object; text as it is, should a server send the arguments encoded."""
    if data[:1] == b'"':
        return json.decode(data, str, EngineProtocolError)
    return "{}" if data == b"null" else data.decode()
