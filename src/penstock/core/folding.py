"""Events to a whole reply, and a whole reply to events for engines that can't stream."""

from collections.abc import Iterable

import msgspec

from penstock.core import events as ev
from penstock.core.messages import Message, TextPart, ToolCall


class ChoiceReply(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One answer. `reason` is `None` when the stream broke before it ended."""

    text: str = ""
    reasoning: str = ""
    opaque: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    images: tuple[ev.Image, ...] = ()
    logprobs: tuple[msgspec.Raw, ...] = ()
    reason: ev.FinishReason | None = None


class Reply(msgspec.Struct, kw_only=True, omit_defaults=True):
    """All that a stream said. `ms`: from `Start` to the last entry; `first_ms`: to the first
    delta.
    """

    start: ev.Start | None = None
    choices: tuple[ChoiceReply, ...] = ()
    usage: ev.Usage | None = None
    failed: ev.Failed | None = None
    ms: int = 0
    first_ms: int | None = None

    @property
    def first(self) -> ChoiceReply:
        """The first choice; an empty one when nothing was said."""
        return self.choices[0] if self.choices else ChoiceReply()

    @property
    def text(self) -> str:
        """The text of the first choice."""
        return self.first.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls of the first choice."""
        return self.first.tool_calls


class _Choice:
    """The pieces of one choice, joined once at the end: linear in the length of the stream."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.opaque: str | None = None
        self.calls: dict[int, tuple[str, list[str], list[str]]] = {}
        self.images: list[ev.Image] = []
        self.logprobs: list[msgspec.Raw] = []
        self.reason: ev.FinishReason | None = None

    def call(self, delta: ev.ToolCallDelta) -> None:
        _, names, arguments = self.calls.setdefault(delta.part, (delta.call, [], []))
        if delta.name:
            names.append(delta.name)
        arguments.append(delta.arguments)

    def reply(self) -> ChoiceReply:
        calls = [
            ToolCall(id=call, name="".join(names), arguments="".join(arguments))
            for call, names, arguments in self.calls.values()
        ]
        return ChoiceReply(
            text="".join(self.text),
            reasoning="".join(self.reasoning),
            opaque=self.opaque,
            tool_calls=tuple(calls),
            images=tuple(self.images),
            logprobs=tuple(self.logprobs),
            reason=self.reason,
        )


class Folder:
    """Folds a stream entry by entry."""

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self._start: ev.Start | None = None
        self._usage: ev.Usage | None = None
        self._failed: ev.Failed | None = None
        self._ms = 0
        self._first_ms: int | None = None

    def feed(self, entry: ev.Entry) -> None:
        """Adds one entry."""
        self._ms = entry.ms
        match entry.event:
            case ev.Start():
                self._start = entry.event
            case ev.TextDelta(text=text, choice=choice, logprobs=logprobs):
                self._delta(choice, entry.ms).text.append(text)
                if logprobs is not msgspec.UNSET:
                    self._choice(choice).logprobs.append(logprobs)
            case ev.ReasoningDelta(text=text, choice=choice, opaque=opaque):
                self._delta(choice, entry.ms).reasoning.append(text)
                self._choice(choice).opaque = opaque or self._choice(choice).opaque
            case ev.ToolCallDelta(choice=choice):
                self._delta(choice, entry.ms).call(entry.event)
            case ev.Image(choice=choice):
                self._delta(choice, entry.ms).images.append(entry.event)
            case ev.Finish(choice=choice, reason=reason):
                self._choice(choice).reason = reason
            case ev.Usage():
                self._usage = entry.event
            case ev.Failed():
                self._failed = entry.event
            case ev.Done(reason=reason):
                self._end(reason)
            case ev.Progress():
                pass

    def reply(self) -> Reply:
        """What was said so far."""
        return Reply(
            start=self._start,
            choices=tuple(self._choices[n].reply() for n in sorted(self._choices)),
            usage=self._usage,
            failed=self._failed,
            ms=self._ms,
            first_ms=self._first_ms,
        )

    def _choice(self, choice: int) -> _Choice:
        return self._choices.setdefault(choice, _Choice())

    def _delta(self, choice: int, ms: int) -> _Choice:
        if self._first_ms is None:
            self._first_ms = ms
        return self._choice(choice)

    def _end(self, reason: ev.FinishReason) -> None:
        # Also those that said nothing: a choice's place in the reply is its number.
        for n in range(max(self._choices, default=0) + 1):
            self._choice(n).reason = self._choice(n).reason or reason


def fold(entries: Iterable[ev.Entry]) -> Reply:
    """A whole stream as one reply."""
    folder = Folder()
    for entry in entries:
        folder.feed(entry)
    return folder.reply()


def as_message(choice: ChoiceReply) -> Message:
    """An answer as the next turn's conversation holds it."""
    return Message(
        role="assistant",
        parts=(TextPart(choice.text),) if choice.text else (),
        tool_calls=choice.tool_calls,
        reasoning=choice.reasoning or None,
    )


def unfold(choice: ChoiceReply, usage: ev.Usage | None = None) -> list[ev.Event]:
    """The events of a reply that came whole, its terminal included."""
    found: list[ev.Event] = []
    if choice.reasoning:
        found.append(ev.ReasoningDelta(part=0, text=choice.reasoning, opaque=choice.opaque))
    if choice.text:
        found.append(ev.TextDelta(part=1, text=choice.text))
    for n, call in enumerate(choice.tool_calls):
        found.append(
            ev.ToolCallDelta(part=2 + n, call=call.id, name=call.name, arguments=call.arguments)
        )
    if usage is not None:
        found.append(usage)
    found.append(ev.Done(reason=choice.reason or "stop"))
    return found
