"""A body's bytes to a `Request` or `Query`. Whatever is wrong is an error that names the field."""

from typing import Final

from penstock.core.errors import InvalidRequestError
from penstock.core.messages import Message, TextPart, ToolCall, say
from penstock.core.ports import Call
from penstock.core.queries import Query, SessionAsk
from penstock.core.request import Request, Sampling, ToolChoice, ToolSpec
from penstock.dialects import _tools
from penstock.dialects._thinking import Wish, wish
from penstock.dialects.portal_chat import shapes
from penstock.wire import json

MOST_ID_BYTES: Final = 256
"""A session's id stands in every event, and an event stays within one TCP segment."""
_OURS: Final = frozenset({"history", "stream"})
"""Ids whose address would be that of another route. So would be that of one that ends with
`/history`; and doubled slashes collapse, so `/a` would be told of, and deleted, as `a`.
"""


def parse(call: Call) -> Request | Query:
    """Raises `InvalidRequestError`."""
    operation = call.route.operation
    if operation == "generate":
        stream = call.route.path.endswith("/stream")
        in_session = "/session" in call.route.path
        return _session(call.body, stream) if in_session else _chat(call.body, stream)
    if operation not in ("session", "drop_session"):
        return Query(operation)
    name = call.path.get("id")
    if name is None:
        name = json.decode(call.body, shapes.HistoryBody, InvalidRequestError).session_id
    return Query(operation, name, SessionAsk(name))


def _chat(data: bytes, stream: bool) -> Request:
    body = json.decode(data, shapes.ChatBody, InvalidRequestError)
    if not body.messages:
        raise InvalidRequestError("messages: at least one message is required", param="messages")
    messages = [_message(message, n) for n, message in enumerate(body.messages)]
    return _request(body, wish(body, messages), stream, None)


def _session(data: bytes, stream: bool) -> Request:
    body = json.decode(data, shapes.SessionBody, InvalidRequestError)
    check_id(body.session_id)
    messages: list[Message] = []
    if body.system_prompt:
        messages.append(say("system", body.system_prompt))
    for result in body.tool_results or ():
        parts = (TextPart(result.content),)
        messages.append(Message(role="tool", parts=parts, tool_call_id=result.tool_call_id))
    if body.message is not None:
        messages.append(say("user", body.message))
    elif not body.tool_results:
        raise InvalidRequestError("message: a message is required", param="message")
    return _request(body, wish(body, messages), stream, body.session_id)


def check_id(session: str) -> None:
    """Raises `InvalidRequestError` for an id that no session can have."""
    if not session:
        raise InvalidRequestError("session_id: an id is required", param="session_id")
    if len(json.encode(session)) > MOST_ID_BYTES:
        raise InvalidRequestError(
            f"session_id: longer than {MOST_ID_BYTES - 2} bytes as ASCII JSON", param="session_id"
        )
    if session in _OURS or session.startswith("/") or session.endswith("/history"):
        raise InvalidRequestError(
            f"session_id: {session!r} would have the address of something else",
            param="session_id",
        )


def _request(
    body: shapes.Wishes,
    asked: Wish,
    stream: bool,
    session: str | None,
) -> Request:
    tools = _tools.specs(body.tools or (), "tools")
    return Request(
        model="" if body.model in (None, "default") else body.model,
        messages=asked.messages,
        sampling=Sampling(
            temperature=body.temperature, top_p=body.top_p, max_tokens=body.max_tokens
        ),
        tools=tools,
        tool_choice=_choice(body, tools),
        effort=asked.effort,
        effort_hint=asked.spelled,
        stream=stream,
        session=session,
    )


def _choice(body: shapes.Wishes, tools: tuple[ToolSpec, ...]) -> ToolChoice | None:
    return _tools.choice(body.tool_choice, tools, "tool_choice")


def _message(message: shapes.ChatMessage, n: int) -> Message:
    at = f"messages[{n}]"
    if message.role == "tool" and not message.tool_call_id:
        raise InvalidRequestError(
            f"{at}.tool_call_id: required of a tool's result", param=f"{at}.tool_call_id"
        )
    calls = message.tool_calls if message.role == "assistant" else None
    return Message(
        role=message.role,
        parts=(TextPart(message.content),),
        tool_calls=tuple(_call(call) for call in calls or ()),
        tool_call_id=message.tool_call_id if message.role == "tool" else None,
    )


def _call(call: shapes.SaidCall) -> ToolCall:
    said = call.arguments
    arguments = said if isinstance(said, str) else json.encode(said).decode()
    return ToolCall(id=call.id, name=call.name, arguments=arguments)
