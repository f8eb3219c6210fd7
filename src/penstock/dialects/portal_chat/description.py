"""What the session chat takes and gives, for `/openapi.json`."""

from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from penstock.core.description import Described, Description
from penstock.dialects._fastapi import Detail
from penstock.dialects.portal_chat import shapes


class Piece(msgspec.Struct, frozen=True):
    """An event with a piece of text. This and the others have `session_id` within a session."""

    content: str
    session_id: str | UnsetType = UNSET


class Calls(msgspec.Struct, frozen=True):
    """An event with whole tool calls."""

    tool_calls: tuple[shapes.Call, ...]
    session_id: str | UnsetType = UNSET


class End(msgspec.Struct, frozen=True):
    """The last event of a stream that went well."""

    done: Literal[True]
    session_id: str | UnsetType = UNSET


class Trouble(msgspec.Struct, frozen=True):
    """The last event of one that did not."""

    error: str


_EVENTS: Final = (Piece, Calls, End, Trouble)
"""The encoder writes them by hand; the golden vectors are held against these."""
_CHAT: Final[dict[str, object]] = {"messages": [{"role": "user", "content": "Hello"}]}
_SESSION: Final[dict[str, object]] = {"session_id": "my-session", "message": "Hello"}

DESCRIPTION: Final = Description(
    error=Detail,
    routes={
        ("POST", "/api/llm/chat"): Described(
            asked=(shapes.ChatBody,), told=(shapes.Reply,), example=_CHAT
        ),
        ("POST", "/api/llm/chat/stream"): Described(
            asked=(shapes.ChatBody,), items=_EVENTS, example=_CHAT
        ),
        ("POST", "/api/llm/chat/session"): Described(
            asked=(shapes.SessionBody,), told=(shapes.Reply,), example=_SESSION
        ),
        ("POST", "/api/llm/chat/session/stream"): Described(
            asked=(shapes.SessionBody,), items=_EVENTS, example=_SESSION
        ),
        ("POST", "/api/llm/chat/session/history"): Described(
            asked=(shapes.HistoryBody,),
            told=(shapes.History,),
            example={"session_id": "my-session"},
        ),
        ("GET", "/api/llm/chat/session/{id:path}/history"): Described(told=(shapes.History,)),
        ("DELETE", "/api/llm/chat/session/{id:path}"): Described(told=(shapes.Cleared,)),
        ("GET", "/api/llm/chat/sessions"): Described(told=(shapes.Sessions,)),
        ("GET", "/api/llm/health"): Described(told=(shapes.Health,)),
    },
)
