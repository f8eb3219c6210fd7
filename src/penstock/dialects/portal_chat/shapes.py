"""What clients of the session chat send, and what they get whole. `null` is "not given"."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from penstock.dialects._thinking import Fields
from penstock.dialects._tools import Choice, Tool

Temperature = Annotated[float, Meta(ge=0, le=5)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class Call(msgspec.Struct, frozen=True):
    """A tool call, in both directions. `arguments`: an object, or the JSON text of one."""

    id: str
    name: str
    arguments: Raw | str


class SaidCall(msgspec.Struct, frozen=True):
    """A tool call as it comes back."""

    id: str
    name: str
    arguments: dict[str, object] | str = "{}"


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of `messages`. `content` is a string, nothing else."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[SaidCall, ...] | None = None
    tool_call_id: str | None = None


class ToolResult(msgspec.Struct, frozen=True):
    """What a tool said, for the call of this id."""

    tool_call_id: Annotated[str, Meta(min_length=1)]
    content: str


class Wishes(Fields, frozen=True, kw_only=True):
    """What both forms have."""

    model: str | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    max_tokens: Count | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: Choice | None = None


class ChatBody(Wishes, frozen=True, kw_only=True):
    """The body of `/api/llm/chat` and `/api/llm/chat/stream`."""

    messages: tuple[ChatMessage, ...]


class SessionBody(Wishes, frozen=True, kw_only=True):
    """The body of `/api/llm/chat/session` and `/api/llm/chat/session/stream`.

    `message` may only be absent where `tool_results` are.
    """

    session_id: str
    message: str | None = None
    system_prompt: str | None = None
    tool_results: tuple[ToolResult, ...] | None = None


class HistoryBody(msgspec.Struct, frozen=True):
    """The body of `POST /api/llm/chat/session/history`."""

    session_id: str


class Reply(msgspec.Struct, frozen=True):
    """A whole answer."""

    response: str
    session_id: str | None
    tool_calls: tuple[Call, ...] | UnsetType = UNSET


class HistoryMessage(msgspec.Struct, frozen=True):
    """One message of a session. `state` marks the last message of a turn that is not whole:
    `live`, `failed`, `cancelled`, `interrupted`; `error` says why.
    """

    role: str
    content: str
    tool_calls: tuple[Call, ...] | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    error: str | UnsetType = UNSET


class History(msgspec.Struct, frozen=True):
    """The system message comes first."""

    session_id: str
    messages: tuple[HistoryMessage, ...]


class SessionEntry(msgspec.Struct, frozen=True):
    """A line of the listing. Times in ISO 8601, UTC."""

    session_id: str
    title: str
    model: str
    created_at: str
    updated_at: str
    turns: int
    last_message_preview: str


class Sessions(msgspec.Struct, frozen=True):
    """The newest first."""

    sessions: tuple[SessionEntry, ...]


class Cleared(msgspec.Struct, frozen=True):
    """The answer of a deletion."""

    ok: bool
    message: str


class Health(msgspec.Struct, frozen=True):
    """The original's keys. No upstream's address is told; `null`: as the model does by default."""

    status: str
    server_url: str | None
    temperature: float | None
    max_tokens: int | None
