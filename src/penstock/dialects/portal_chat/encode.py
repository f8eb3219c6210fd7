"""Entries to the session chat's events, and a whole reply to its object.

The events are written as Python's `json.dumps` writes them, which is what the original does: a
client that compares bytes finds no difference.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import UNSET

from penstock.core import events as ev
from penstock.core.folding import Folder, Reply
from penstock.core.messages import ToolCall
from penstock.core.ports import Frame
from penstock.core.request import Request
from penstock.dialects import _tools
from penstock.dialects.portal_chat import shapes
from penstock.wire import json

MOST_TEXT: Final = 700
"""Bytes of a text in one event. With a session's id and `id:` an event stays below 1 100 bytes."""
MOST_ERROR: Final = 900
_ELLIPSIS: Final = 6


class Encoder:
    """Renders one stream. Pieces of text as they come; tool calls whole, just before the end."""

    def __init__(self, request: Request) -> None:
        session = request.session
        of = b"" if session is None else b', "session_id": ' + json.encode(session)
        self._end = of + b"}"
        self._calls = Folder()

    def feed(self, entry: ev.Entry) -> Iterable[Frame]:
        """The frames of one entry. What this wire has no place for (reasoning, progress, pictures,
        usage, further choices) has none.
        """
        match entry.event:
            case ev.TextDelta(text=text, choice=0) if text:
                return [Frame(b'{"content": ' + said + self._end) for said in pieces(text)]
            case ev.ToolCallDelta(choice=0):
                self._calls.feed(entry)
            case ev.Done(reason=reason):
                calls = () if reason == "cancelled" else self._calls.reply().first.tool_calls
                return [*self._called(calls), Frame(b'{"done": true' + self._end)]
            case ev.Failed(message=message, code=code):
                # The portal's page takes an empty error for none, and would wait for ever.
                return (Frame(b'{"error": ' + shortened(message or code) + b"}"),)
            case _:
                pass
        return ()

    def _called(self, calls: Sequence[ToolCall]) -> list[Frame]:
        """All calls in one event, where they fit into one."""
        groups: list[list[bytes]] = []
        size = 0
        for call in called(calls):
            data = json.encode(call)
            size += len(data)
            if not groups or size > MOST_TEXT:
                groups.append([])
                size = len(data)
            groups[-1].append(data)
        return [
            Frame(b'{"tool_calls": [' + b", ".join(group) + b"]" + self._end) for group in groups
        ]


def pieces(text: str) -> list[bytes]:
    """A text as JSON strings of `MOST_TEXT` bytes at most, cut between characters."""
    data = json.encode(text)
    if len(data) <= MOST_TEXT:
        return [data]
    half = len(text) // 2
    return pieces(text[:half]) + pieces(text[half:])


def shortened(text: str) -> bytes:
    """A text as one JSON string: there is only ever one error event."""
    data = json.encode(text)
    if len(data) <= MOST_ERROR:
        return data
    while len(json.encode(text)) > MOST_ERROR - _ELLIPSIS:
        text = text[: len(text) * 7 // 8]
    return json.encode(text + "…")


def called(calls: Sequence[ToolCall]) -> tuple[shapes.Call, ...]:
    """Calls as this wire has them: arguments as an object, or as text when they are none."""
    return tuple(shapes.Call(c.id, c.name, _tools.arguments(c.arguments)) for c in calls)


def whole(request: Request, reply: Reply) -> bytes:
    """The reply that is not streamed."""
    first = reply.first
    calls = () if first.reason == "cancelled" else first.tool_calls
    return json.encode(shapes.Reply(first.text, request.session, called(calls) if calls else UNSET))
