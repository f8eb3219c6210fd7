"""What was said in a session, as the next prompt holds it. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from penstock.core.errors import InvalidRequestError
from penstock.core.folding import Reply, as_message
from penstock.core.messages import Message, ToolCall, say
from penstock.core.ports import StreamState
from penstock.core.sessions import Turn
from penstock.wire import json

LONGEST_TITLE: Final = 60


def split(messages: Sequence[Message]) -> tuple[str | None, tuple[Message, ...]]:
    """The system prompt that a conversation begins with, and the rest."""
    if messages and messages[0].role == "system":
        return messages[0].text, tuple(messages[1:])
    return None, tuple(messages)


def title(said: Sequence[Message]) -> str:
    """The first words of the first thing that a user said."""
    text = next((message.text for message in said if message.role == "user"), "")
    words = " ".join(text[: LONGEST_TITLE * 8].split())
    if len(words) <= LONGEST_TITLE:
        return words
    cut, space, _ = words[: LONGEST_TITLE + 1].rpartition(" ")
    return (cut if space else words[:LONGEST_TITLE]) + "…"


def groups(turns: Sequence[Turn]) -> list[list[Turn]]:
    """The turns in pieces that may only be dropped whole: calls of tools with their results."""
    found: list[list[Turn]] = []
    for turn in turns:
        if found and _has_results(turn.said):
            found[-1].append(turn)
        else:
            found.append([turn])
    return found


def _has_results(said: Sequence[Message]) -> bool:
    return any(message.role == "tool" for message in said)


def needed(turns: Sequence[Turn], said: Sequence[Message]) -> list[list[Turn]]:
    """The groups that may be dropped, oldest first, and as the last one what must stay with `said`:
    the calls that it holds the results of, else nothing.
    """
    found = groups(turns)
    return found if found and _has_results(said) else [*found, []]


def prompt(turns: Iterable[Turn], said: Sequence[Message]) -> tuple[Message, ...]:
    """The messages of `turns` and then `said`, so that every model's template takes them.

    A call without a result, and a result without its call, is left out; what two messages of the
    user's in a row say, because the first was never answered, becomes one message.
    """
    messages = [message for turn in turns for message in spoken(turn)]
    return _joined(_paired([*messages, *said]))


def spoken(turn: Turn) -> list[Message]:
    """A turn's messages. What a model thought is for that turn only."""
    if turn.reply is None:
        return list(turn.said)
    calls = tuple(_readable(call) for call in turn.reply.tool_calls)
    return [*turn.said, replace(turn.reply, tool_calls=calls, reasoning=None)]


def _readable(call: ToolCall) -> ToolCall:
    """With an object for arguments. What a model wrote instead, or was cut in, is put into one: a
    template that can't read it would refuse this conversation for ever.
    """
    text = call.arguments.strip() or "{}"
    if not (text.startswith("{") and json.is_json(text)):
        text = json.encode({"raw": call.arguments}).decode()
    return replace(call, arguments=text)


def _paired(messages: Sequence[Message]) -> list[Message]:
    found: list[Message] = []
    for n, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id in _open_calls(found):
                _add_result(found, message)
        elif message.tool_calls:
            answered = _results_after(messages, n)
            calls = tuple(call for call in message.tool_calls if call.id in answered)
            if calls or message.text:
                found.append(replace(message, tool_calls=calls))
        else:
            found.append(message)
    return found


def _add_result(messages: list[Message], result: Message) -> None:
    """Of a call whose result was sent again, because it was never answered, the last one counts."""
    n = len(messages)
    while messages[n - 1].role == "tool":
        n -= 1
    others = [told for told in messages[n:] if told.tool_call_id != result.tool_call_id]
    messages[n:] = [*others, result]


def _open_calls(messages: Sequence[Message]) -> set[str]:
    for message in reversed(messages):
        if message.role != "tool":
            return {call.id for call in message.tool_calls}
    return set()


def _results_after(messages: Sequence[Message], n: int) -> set[str | None]:
    found: set[str | None] = set()
    for message in messages[n + 1 :]:
        if message.role != "tool":
            break
        found.add(message.tool_call_id)
    return found


def _joined(messages: Sequence[Message]) -> tuple[Message, ...]:
    found: list[Message] = []
    for message in messages:
        if found and message.role == "user" == found[-1].role:
            before = found.pop()
            parts = (*before.parts, *say("user", "\n\n").parts, *message.parts)
            message = replace(message, parts=parts)
        found.append(message)
    return tuple(found)


def check_results(turns: Sequence[Turn], said: Sequence[Message]) -> None:
    """Raises `InvalidRequestError` for a tool's result whose call the last answer did not make, and
    for a second result of one call.
    """
    known: set[str | None] = {call.id for call in _last_calls(turns)}
    results = [message for message in said if message.role == "tool"]
    for n, message in enumerate(results):
        if message.tool_call_id not in known:
            raise InvalidRequestError(
                f"tool_results[{n}].tool_call_id: the last answer made no such call",
                param=f"tool_results[{n}].tool_call_id",
            )
        known.remove(message.tool_call_id)


def _last_calls(turns: Sequence[Turn]) -> tuple[ToolCall, ...]:
    """The calls that results may be sent for: also again, when nothing was answered to them."""
    for turn in reversed(turns):
        if turn.reply is not None:
            return turn.reply.tool_calls
        if not _has_results(turn.said):
            break
    return ()


def outcome(reply: Reply) -> tuple[StreamState, Message | None, str | None]:
    """How a turn ended: its state, what was answered as far as it got, and why it broke.

    What the model thought is not kept: no later turn is told it. Nor are the calls of an answer
    that was cut: they may be cut themselves, and nobody was told of them.
    """
    first = reply.first
    state: StreamState = "done"
    if reply.failed is not None:
        state = "interrupted" if reply.failed.code == "interrupted" else "failed"
    elif first.reason == "cancelled":
        state = "cancelled"
    message = replace(as_message(first), reasoning=None)
    if state != "done":
        message = replace(message, tool_calls=())
    said = bool(message.parts or message.tool_calls)
    return state, message if said else None, reply.failed.message if reply.failed else None
