"""A payload to a request. What a session may say, and how it is checked, is the session chat's
(`/api/llm/chat/session`): the keys here are the original bridge's names of the same things.
"""

import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from penstock.core.errors import GatewayError, InvalidRequestError, RequestTooLargeError
from penstock.core.messages import say
from penstock.core.ports import Call, Dialect
from penstock.core.request import Request
from penstock.transports.mqtt import topics
from penstock.transports.mqtt.client import Incoming
from penstock.transports.mqtt.shapes import Form, Note
from penstock.wire import json

SESSION_DIALECT: Final = "portal_chat"
_PATH: Final = "/api/llm/chat/session"
_THEIRS: Final = {
    "topP": "top_p",
    "maxTokens": "max_tokens",
    "systemPrompt": "system_prompt",
    "toolChoice": "tool_choice",
    "toolResults": "tool_results",
    "sessionId": "session_id",
    "enableThinking": "enable_thinking",
}
_INVALID: Final = "invalid"
"""Where the refusal of a session's id goes that can't stand in a topic."""
_OURS: Final = {theirs: ours for ours, theirs in _THEIRS.items()}
_KEPT_FROM_STATES: Final = frozenset(
    {"sessionId", "session_id", "requestId", "replyTopic", "clientId", "prompt_template", "format"}
)
_STATE_NAMES: Final = {"oxygenPellets": "oxygen", "oxygenCollected": "oxygen_collected"}
_SHARED: Final = ("temperature", "topP", "maxTokens", "model", "tools", "toolChoice")


class Question(NamedTuple):
    """What was asked, before anything of it but its addresses was checked."""

    note: Note
    fields: Mapping[str, object]


def question(kind: topics.Kind, project: str, rest: str, incoming: Incoming) -> Question:
    """What came in, and where its answer goes. Raises nothing: whatever comes can be answered."""
    if kind == "old_input":
        text = incoming.payload.decode(errors="replace")
        fields: Mapping[str, object] = {"message": text, "sessionId": rest or "default"}
    else:
        fields = {**incoming.facts, **_object(incoming.payload)}
    session, given = _session(fields)
    place = session if topics.is_level(session) else _INVALID
    asked = fields.get("requestId") or incoming.facts.get("requestId") or ""
    request = asked if isinstance(asked, str) and topics.is_level(asked) else ""
    base = f"{project}/hint" if kind == "state" else f"{project}/assistant_response"
    wished = fields.get("replyTopic") or incoming.reply_to
    wished = wished if isinstance(wished, str) else ""
    reply = topics.reply(base, place, wished, own=given)
    form: Form = "hint" if kind == "state" else "text"
    if form == "text" and (fields.get("format") == "json" or fields.get("tools")):
        form = "json"
    note = Note(
        project=project,
        session=session if place == session else "",
        request=request or secrets.token_hex(8),
        key=f"{session if given else wished}/{request}" if request else _seen(incoming),
        reply=reply,
        form=form,
        stream=fields.get("stream") in (True, "true") and kind == "user_input",
        given=bool(request),
        correlation=incoming.correlation.hex(),
        qos=0 if kind == "old_input" else 1,
    )
    return Question(note, _state(fields) if kind == "state" else fields)


def _seen(incoming: Incoming) -> str:
    """What a message without a `requestId` is known by. Two clients of MQTT 5 may say the same
    words: who asks, and where the answer goes, stand beside the payload then.
    """
    facts = json.encode(dict(incoming.facts))
    parts = [incoming.topic.encode(), facts, incoming.reply_to.encode(), incoming.correlation]
    return sha256(b"\0".join([*parts, incoming.payload])).hexdigest()


def _object(payload: bytes) -> Mapping[str, object]:
    """What is no JSON object is the message itself."""
    try:
        found = json.decode(payload, dict[str, object], InvalidRequestError)
    except InvalidRequestError:
        return {"message": payload.decode(errors="replace")}
    return found


def _session(fields: Mapping[str, object]) -> tuple[str, bool]:
    """The session's id, and whether the client named it. Numbers are taken as their digits."""
    found = fields.get("sessionId") or fields.get("session_id")
    name = found.strip() if isinstance(found, str) else "" if found is None else _text(found)
    return (name, True) if name else (f"default-{secrets.token_hex(4)}", False)


def _text(value: object) -> str:
    return json.encode(value).decode()


def _state(fields: Mapping[str, object]) -> Mapping[str, object]:
    """The state of a game as a message: its own keys, two of them under the names models know."""
    told = {
        _STATE_NAMES.get(name, name): value
        for name, value in fields.items()
        if name not in _KEPT_FROM_STATES and name not in _SHARED
    }
    shared = {name: fields[name] for name in (*_SHARED, "prompt_template") if name in fields}
    return {**shared, "message": _text(told)}


def check(found: Question, incoming: Incoming, most_bytes: int) -> None:
    """Raises `InvalidRequestError` for what can't be answered as it asks to be."""
    if len(incoming.payload) > most_bytes:
        raise RequestTooLargeError(f"the message is longer than {most_bytes} bytes")
    if not found.note.session:
        raise InvalidRequestError(
            "sessionId: may hold no '/', '+', '#' or control character", param="sessionId"
        )
    asked = found.fields.get("requestId")
    if asked is not None and asked != found.note.request:
        raise InvalidRequestError(
            "requestId: a text without '/', '+', '#' and control characters", param="requestId"
        )
    if found.note.stream and not found.note.given:
        raise InvalidRequestError("requestId: needed of a stream", param="requestId")


def request(found: Question, dialect: Dialect, system: str, model: str) -> Request:
    """What the gateway is asked. `system`, `model`: the project's. Raises `InvalidRequestError`."""
    note, fields = found
    message = fields.get("message")
    if isinstance(message, str) and not message.strip():
        message = None
    body = {_THEIRS.get(name, name): value for name, value in fields.items()}
    body |= {"message": message, "session_id": f"{note.project}/{note.session}"}
    body["system_prompt"] = body.get("system_prompt") or template(fields.get("prompt_template"))
    path = f"{_PATH}/stream" if note.stream else _PATH
    route = next(one for one in dialect.routes if one.path == path)
    try:
        asked = dialect.parse(Call(route, {}, {}, {}, json.encode(body)))
    except GatewayError as error:
        raise _in_our_words(error) from error
    if not isinstance(asked, Request):
        raise InvalidRequestError("message: a message is required", param="message")
    messages: Sequence[object] = asked.messages
    if system and not any(one.role == "system" for one in asked.messages):
        messages = (say("system", system), *asked.messages)
    ignored = (*asked.ignored, *(("images",) if fields.get("images") else ()))
    return msgspec.structs.replace(
        asked,
        messages=messages,
        model=asked.model or model,
        form=json.encode(note).decode(),
        ignored=ignored,
    )


def template(value: object) -> str | None:
    """A prompt: a text, or an object with `content` or `template`."""
    if isinstance(value, dict):
        value = value.get("content") or value.get("template")
    return value if isinstance(value, str) and value.strip() else None


def _in_our_words(error: GatewayError) -> GatewayError:
    """The same error, with the field under the name that it has here."""
    if error.param is None:
        return error
    first, dot, below = error.param.partition(".")
    name, bracket, place = first.partition("[")
    ours = _OURS.get(name, name)
    param = f"{ours}{bracket}{place}{dot}{below}"
    message = error.message.replace(error.param, param, 1)
    return type(error)(message, param=param)
