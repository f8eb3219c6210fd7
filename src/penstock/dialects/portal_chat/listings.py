"""What was found, as the session chat's routes tell it."""

from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec import UNSET
from msgspec.structs import replace

from penstock.core.errors import UnknownSessionError
from penstock.core.messages import Message
from penstock.core.queries import Found
from penstock.core.sessions import Session, SessionLine, Turn
from penstock.dialects.portal_chat import shapes
from penstock.dialects.portal_chat.encode import called
from penstock.wire import json


def answer(found: Found) -> bytes:
    """The body of an answer. Raises `UnknownSessionError`."""
    match found.query.operation:
        case "sessions":
            return json.encode(shapes.Sessions(tuple(_line(line) for line in found.sessions)))
        case "drop_session":
            return json.encode(shapes.Cleared(True, f"Session {found.query.name} cleared"))
        case "session":
            if found.session is None:
                raise UnknownSessionError("Session not found")
            return json.encode(_history(found.session))
        case _:
            return json.encode(shapes.Health("ok", None, None, None))


def _history(session: Session) -> shapes.History:
    system = shapes.HistoryMessage("system", session.system)
    turns = [message for turn in session.turns for message in _turn(turn)]
    return shapes.History(session.id, (system, *turns))


def _turn(turn: Turn) -> Iterator[shapes.HistoryMessage]:
    """A turn that was cut is marked at its last message: the reply as far as it got, if any."""
    *first, last = [*turn.said, turn.reply] if turn.reply is not None else turn.said
    for message in first:
        yield _message(message)
    if turn.state == "done":
        yield _message(last)
    else:
        yield replace(_message(last), state=turn.state, error=turn.error or UNSET)


def _message(message: Message) -> shapes.HistoryMessage:
    return shapes.HistoryMessage(
        message.role,
        message.text,
        tool_calls=called(message.tool_calls) if message.tool_calls else UNSET,
        tool_call_id=message.tool_call_id or UNSET,
    )


def _line(line: SessionLine) -> shapes.SessionEntry:
    return shapes.SessionEntry(
        session_id=line.id,
        title=line.title,
        model=line.model or "default",
        created_at=_iso(line.created),
        updated_at=_iso(line.updated),
        turns=line.turns,
        last_message_preview=line.preview,
    )


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
