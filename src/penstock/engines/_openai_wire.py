"""OpenAI's chat-completions stream as events. Sans I/O: `llamacpp` reads its own server with it.

From "Streaming" in OpenAI's API reference, and from what compatible servers really send.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import replace

from penstock.core import events as ev
from penstock.core.choices import summed
from penstock.core.errors import EngineProtocolError
from penstock.engines import _parts, _said, _surrogates
from penstock.engines._openai_body import body as body
from penstock.engines._openai_calls import Calls
from penstock.engines._openai_legacy import legacy_content
from penstock.engines._openai_shapes import (
    Chunk,
    Content,
    ContentPart,
    Counts,
    Delta,
    LlamaTimings,
    Logprobs,
    counted,
)
from penstock.engines._think import ThinkTags
from penstock.wire import json

_REASONS: Final[dict[str, ev.FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "filtered",
    "safety": "filtered",
    "sensitive": "filtered",
}
_BROKEN: Final = frozenset(
    {"error", "abort", "cancelled", "network_error", "insufficient_system_resource"}
)


class Chunks:
    """The events of one answer's chunks. It ends once: after a terminal it gives nothing more.

    `choices`: how many answers were asked for; with more than one each ends with `Finish`.
    `think_tags`: whether `<think>` at the beginning of an answer opens reasoning.
    `mask` takes our secrets out of what the upstream says.
    """

    def __init__(
        self, choices: int = 1, *, think_tags: bool = True, mask: _said.Mask = _said.unmasked
    ) -> None:
        self._choices = choices
        self._think_tags = think_tags
        self._mask = mask
        self._answers: dict[int, _Answer] = {}
        self._only = 0 if choices == 1 else None
        self._counts: Counts | None = None
        self._apart = 0
        self._timings: LlamaTimings | None = None
        self._usages: list[ev.Usage] = []
        self._joiner: _surrogates.Joiner | None = None
        self.ended = False
        """Whether the terminal was given."""
        self.over = False
        """Whether this reply has said all that it will: the terminal was given, or others have to
        give the answers that it lacks; see `next_choice`.
        """

    def feed(self, data: bytes) -> list[ev.Event]:
        """The events of one chunk: one JSON object without framing."""
        return self._fed(data, whole=False)

    def whole(self, data: bytes) -> list[ev.Event]:
        """The events of a whole completion (`message` instead of `delta`), the terminal too."""
        found = self._fed(data, whole=True)
        return found + self.end()

    def error(self, data: bytes) -> list[ev.Event]:
        """The end that an `event: error` makes."""
        try:
            said = json.decode(data, object, EngineProtocolError)
        except EngineProtocolError:
            said = _said.words(data, self._mask)
        return self._fail(said)

    def fail(self, message: str) -> list[ev.Event]:
        """The end that bytes make which are no such stream; `message` says what was wrong."""
        code, retryable = EngineProtocolError.code, EngineProtocolError.retryable
        return self._close(ev.Failed(code=code, message=message, retryable=retryable))

    def end(self) -> list[ev.Event]:
        """What was held back, and the terminal; nothing where answers are lacking.

        A stream that never said how it finished is `Failed`, with or without `[DONE]`.
        """
        if not self.complete:
            return self.fail("the upstream's stream ended without a finish reason")
        if len(self._answers) < self._choices:
            self.over = True
            return []
        return self._close(ev.Done(reason=self._answers[min(self._answers)].reason or "stop"))

    @property
    def complete(self) -> bool:
        """Whether every answer that began has said how it finished."""
        answers = self._answers.values()
        begun = bool(answers) if self._only is None else self._only in self._answers
        return begun and all(answer.reason is not None for answer in answers)

    def next_choice(self) -> int:
        """An answer that the last reply lacked, as many servers heed no `n`. What is fed from now
        on is of a reply that holds this one alone.
        """
        usage = _usage(self._counts, self._timings)
        if usage is not None:
            self._usages.append(usage)
        self._counts = self._timings = None
        self._apart = 0
        self.over = False
        self._only = next(n for n in range(self._choices) if n not in self._answers)
        return self._only

    def _fed(self, data: bytes, *, whole: bool) -> list[ev.Event]:
        if self.over:
            return []
        try:
            chunk = self._decode(data)
            if chunk.usage is not None:
                self._count(chunk.usage, alone=not chunk.choices)
            if chunk.timings is not None:
                self._timings = chunk.timings
            found: list[ev.Event] = []
            for choice in chunk.choices or ():
                n = (choice.index or 0) if self._only is None else self._only
                answer = self._answers.get(n) or self._answer(n)
                delta = choice.message if whole else choice.delta
                if delta is not None:
                    answer.feed(delta, choice.logprobs, found)
                if choice.text is not None:
                    answer.completed(choice.text, choice.logprobs, found)
                if choice.finish_reason is not None:
                    broken = answer.finish(choice.finish_reason, found)
                    if broken and not chunk.error:
                        return found + self._fail(f"it ended with {broken!r}")
            if self._joiner is not None:
                found = self._mended(found)
            if chunk.error or chunk.kind == "error":
                found += self._fail(chunk.error or chunk.message)
        except EngineProtocolError as error:
            return self.fail(f"the upstream sent a chunk that makes no sense: {error.message}")
        return found

    def _decode(self, data: bytes) -> Chunk:
        try:
            return json.decode(data, Chunk, EngineProtocolError)
        except EngineProtocolError:
            if not data.strip():
                # An event without a word: the heartbeat of some proxies.
                return Chunk()
            carried = _surrogates.carry(data)
            if carried == data:
                raise
            self._joiner = self._joiner or _surrogates.Joiner()
            return json.decode(carried, Chunk, EngineProtocolError)

    def _count(self, counts: Counts, *, alone: bool) -> None:
        """Notes a usage; the last one holds.

        Asked for several answers, llama-server counts each in a chunk of its own.
        """
        if alone and self._choices > 1:
            self._apart += counted(counts.completion_tokens) or 0
            counts = replace(counts, completion_tokens=self._apart)
        self._counts = counts

    def _answer(self, choice: int) -> "_Answer":
        if not 0 <= choice < self._choices:
            raise EngineProtocolError(f"choice {choice} of {self._choices}")
        answer = _Answer(choice, several=self._choices > 1, think_tags=self._think_tags)
        self._answers[choice] = answer
        return answer

    def _fail(self, said: object) -> list[ev.Event]:
        return self._close(_said.failure(said, self._mask))

    def _close(self, terminal: ev.Done | ev.Failed) -> list[ev.Event]:
        if self.ended:
            return []
        self.ended = self.over = True
        found: list[ev.Event] = []
        for answer in self._answers.values():
            found += answer.rest()
        if self._joiner is not None:
            found = self._mended(found)
        usage = _usage(self._counts, self._timings)
        usages = self._usages if usage is None else [*self._usages, usage]
        if usages:
            found.append(summed(usages))
        return [*found, terminal]

    def _mended(self, events: Iterable[ev.Event]) -> list[ev.Event]:
        joiner = self._joiner or _surrogates.Joiner()
        return [mended for event in events if (mended := _mend(event, joiner)) is not None]


class _Answer:
    """One choice, on its way."""

    def __init__(self, choice: int, *, several: bool, think_tags: bool) -> None:
        self._choice = choice
        self._several = several
        self._text = _parts.text(choice)
        self._reasoning = _parts.reasoning(choice)
        self._think = ThinkTags() if think_tags else None
        self._logprobs: list[bytes] = []
        self._calls = Calls(choice)
        self.reason: ev.FinishReason | None = None

    def feed(self, delta: Delta, logprobs: Logprobs | None, found: list[ev.Event]) -> None:
        if logprobs is not None and (array := _array(bytes(logprobs.content))):
            self._logprobs.append(array)
        thought = delta.reasoning_content or delta.reasoning
        if isinstance(thought, str) and thought:
            self._thought(thought, found)
        content = delta.content
        if content:
            if isinstance(content, list):
                content = self._in_parts(content, found)
            self._said(content, found)
        if delta.refusal:
            self._said(delta.refusal, found)
        if delta.tool_calls:
            found += self._calls.feed(delta.tool_calls)
        if delta.function_call is not None:
            found += self._calls.function(delta.function_call)

    def completed(self, text: str, logprobs: Logprobs | None, found: list[ev.Event]) -> None:
        """A piece of a completion, whose logprobs have a shape of their own at most servers."""
        if logprobs is not None:
            array = _array(bytes(logprobs.content)) or _array(legacy_content(logprobs))
            if array:
                self._logprobs.append(array)
        if text:
            self._said(text, found)

    def finish(self, said: object, found: list[ev.Event]) -> str | None:
        """Notes how it ended; what it said when that is no proper end."""
        reason = said.lower() if isinstance(said, str) else ""
        if reason in _BROKEN:
            return reason
        if not reason or self.reason is not None:
            return None
        self.reason = _REASONS.get(reason, "stop")
        if self._several:
            found += self.rest()
            found.append(ev.Finish(choice=self._choice, reason=self.reason))
        return None

    def rest(self) -> list[ev.Event]:
        found: list[ev.Event] = []
        if self._think is not None:
            for thinking, text in self._think.end():
                self._emit(thinking, text, found)
        if self._logprobs:
            self._emit(False, "", found)
        found += self._calls.rest()
        return found

    def _thought(self, text: str, found: list[ev.Event]) -> None:
        if self._think is not None:
            held = self._think.give_up()
            self._think = None
            # White space before the thinking is nobody's answer.
            if held.strip():
                self._emit(False, held, found)
        self._emit(True, text, found)

    def _said(self, text: str, found: list[ev.Event]) -> None:
        think = self._think
        if think is None:
            self._emit(False, text, found)
            return
        for thinking, piece in think.feed(text):
            self._emit(thinking, piece, found)
        if think.passed:
            self._think = None

    def _emit(self, thinking: bool, text: str, found: list[ev.Event]) -> None:
        if thinking:
            self._logprobs.clear()
            found.append(ev.ReasoningDelta(part=self._reasoning, text=text, choice=self._choice))
            return
        logprobs: Raw | UnsetType = UNSET
        if self._logprobs:
            logprobs = _joined(self._logprobs)
            self._logprobs.clear()
        found.append(
            ev.TextDelta(part=self._text, text=text, choice=self._choice, logprobs=logprobs)
        )

    def _in_parts(self, parts: Sequence[ContentPart], found: list[ev.Event]) -> str:
        texts: list[str] = []
        for part in parts:
            if part.thinking:
                self._thought(_flat(part.thinking), found)
            elif part.text:
                texts.append(part.text)
        return "".join(texts)


def _flat(content: Content) -> str:
    if isinstance(content, list):
        return "".join([part.text or "" for part in content])
    return content or ""


def _array(content: bytes) -> bytes:
    """The array; nothing where it is empty or none."""
    return content if content[:1] == b"[" and content != b"[]" else b""


def _joined(arrays: Sequence[bytes]) -> Raw:
    if len(arrays) == 1:
        return json.raw(arrays[0])
    return json.raw(b"[" + b",".join([array.strip()[1:-1] for array in arrays]) + b"]")


def _usage(counts: Counts | None, timings: LlamaTimings | None) -> ev.Usage | None:
    if counts is None and timings is None:
        return None
    counts, told = counts or Counts(), timings or LlamaTimings()
    given, made = counted(counts.prompt_tokens), counted(counts.completion_tokens)
    outputs, inputs = counts.completion_tokens_details, counts.prompt_tokens_details
    thought = counted(outputs.reasoning_tokens) if outputs is not None else None
    cached = counted(inputs.cached_tokens) if inputs is not None else None
    if given is None and made is None and timings is None:
        return None
    if given is None:
        given = (told.prompt_n or 0) + (told.cache_n or 0)
    return ev.Usage(
        input_tokens=given,
        output_tokens=made if made is not None else told.predicted_n or 0,
        reasoning_tokens=thought if thought is not None else counted(counts.reasoning_tokens),
        cached_tokens=cached,
        timings=_timings(told) if timings is not None else None,
    )


def _timings(told: LlamaTimings) -> ev.Timings:
    return ev.Timings(
        prompt=round((told.prompt_ms or 0) * 1e6), generation=round((told.predicted_ms or 0) * 1e6)
    )


def _mend(event: ev.Event, joiner: _surrogates.Joiner) -> ev.Event | None:
    """The event with its halves joined; none when it was only half a character."""
    match event:
        case ev.TextDelta(part=part, text=text, logprobs=logprobs):
            if isinstance(logprobs, Raw):
                logprobs = json.raw(_surrogates.repair(bytes(logprobs).decode()))
            text = joiner.feed(part, text)
            return (
                replace(event, text=text, logprobs=logprobs)
                if text or logprobs is not UNSET
                else None
            )
        case ev.ReasoningDelta(part=part, text=text):
            text = joiner.feed(part, text)
            return replace(event, text=text) if text else None
        case ev.ToolCallDelta(part=part, name=name, arguments=arguments):
            arguments = joiner.feed(part, arguments)
            return replace(event, arguments=arguments) if arguments or name else None
        case _:
            return event
