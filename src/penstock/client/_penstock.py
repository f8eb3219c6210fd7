"""A Penstock, as somebody who answers: asked in its dialects, read by its native routes."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from penstock.client import _completions, _pictures
from penstock.client._address import Address
from penstock.client._following import Following
from penstock.client._openai_models import models
from penstock.client._reading import Reading
from penstock.client._refusals import silent
from penstock.client.steps import (
    Line,
    Opened,
    RefusedConnectionError,
    SilenceError,
    Sleep,
    Source,
    Steps,
)
from penstock.core.cards import ModelCard
from penstock.core.errors import (
    EngineProtocolError,
    GatewayError,
    NotFoundError,
    UnavailableError,
    UnknownSessionError,
    UnsupportedParameterError,
)
from penstock.core.events import BEGINNING, Blob, Seq
from penstock.core.ports import StreamInfo
from penstock.core.request import Request, features
from penstock.wire import json
from penstock.wire.native import StreamCancelled, StreamList

_LINGER: Final = {"Penstock-On-Disconnect": "linger"}
_IN_SESSIONS: Final = frozenset({"temperature", "top_p", "tools", "tool_choice"})


class _History(msgspec.Struct):
    messages: tuple[Line, ...]


class Penstock:
    """Streams of it outlive their connections."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def begin(self, request: Request) -> Steps[Source]:
        """See `steps.Server`.

        A request whose connection is cut before the answer began is sent again: what it may have
        started is nobody's, and is cancelled after a while. Not so a session's turn, which must not
        be said twice. Where nobody listens, that is said at once.
        """
        url, body = self._asked(request)
        patience = self._address.patience()
        opened: Opened | None = None
        while opened is None:
            try:
                opened = yield from self._address.open("POST", url, body, _LINGER)
            except SilenceError as error:
                raise silent(url, self._address.timeouts.first_token) from error
            except UnavailableError as trouble:
                refused = isinstance(trouble.__cause__, RefusedConnectionError)
                if refused or trouble.__cause__ is None or request.session is not None:
                    raise
                yield Sleep(patience.after(trouble))
        stream = opened.headers.get("penstock-stream")
        if stream is None:
            opened.close()
            raise EngineProtocolError(f"{self._address.root} is no Penstock: it names no stream")
        return Following(self._address, stream, BEGINNING, opened)

    def follow(self, stream: str, after: Seq) -> Source:
        """See `steps.Server`."""
        return Following(self._address, stream, after)

    def cancel(self, stream: str) -> Steps[bool]:
        """See `steps.Server`."""
        url = f"{self._address.v1}{Reading(stream).path}/cancel"
        data = yield from self._again("POST", url)
        return json.decode(data, StreamCancelled, EngineProtocolError).cancelled

    def models(self) -> Steps[Sequence[ModelCard]]:
        """See `steps.Server`."""
        return models((yield from self._again("GET", f"{self._address.v1}/models")))

    def streams(self, limit: int) -> Steps[Sequence[StreamInfo]]:
        """See `steps.Server`."""
        data = yield from self._again("GET", f"{self._address.v1}/streams?limit={limit}")
        return json.decode(data, StreamList, EngineProtocolError).data

    def picture(self, stream: str, blob: Blob) -> Steps[bytes]:
        """See `steps.Server`. Raises `EngineProtocolError` for other bytes than named."""
        url = f"{self._address.v1}{Reading(stream).path}/blobs/{blob.sha256}"
        data = yield from self._again("GET", url, wait_for_server=True)
        if hashlib.sha256(data).hexdigest() != blob.sha256:
            raise EngineProtocolError("a picture arrived with other bytes than were kept")
        return data

    def history(self, session: str) -> Steps[Sequence[Line]]:
        """See `steps.Server`."""
        try:
            data = yield from self._again("GET", f"{self._session(session)}/history")
        except NotFoundError as error:
            raise UnknownSessionError(f"no session {session!r} at this server") from error
        return json.decode(data, _History, EngineProtocolError).messages

    def forget(self, session: str) -> Steps[None]:
        """See `steps.Server`."""
        yield from self._again("DELETE", self._session(session))

    def _session(self, session: str) -> str:
        return f"{self._address.bare}/api/llm/chat/session/{quote(session, safe='')}"

    def _asked(self, request: Request) -> tuple[str, Mapping[str, object]]:
        if request.modality == "image":
            return f"{self._address.v1}/images/generations", _pictures.body(request)
        if request.session is None:
            body = _completions.body(request, ask_usage=True)
            return f"{self._address.v1}/chat/completions", body
        return f"{self._address.bare}/api/llm/chat/session/stream", _turn(request)

    def _again(self, method: str, url: str, *, wait_for_server: bool = False) -> Steps[bytes]:
        """What may be asked any number of times is."""
        patience = self._address.patience()
        while True:
            try:
                return (yield from self._address.whole(method, url))
            except GatewayError as trouble:
                if isinstance(trouble.__cause__, RefusedConnectionError) and not wait_for_server:
                    raise
                wait = patience.after(trouble)
            if wait:
                yield Sleep(wait)


def _turn(request: Request) -> dict[str, object]:
    """The body of `POST /api/llm/chat/session/stream`: one turn, never the whole conversation.

    Raises `UnsupportedParameterError` for what that route has no field for.
    """
    unsaid = features(request) - _IN_SESSIONS
    if unsaid:
        name = min(unsaid)
        raise UnsupportedParameterError(f"{name} can't be said in a session", param=name)
    full = _completions.body(request, ask_usage=False)
    kept = ("model", "temperature", "top_p", "max_tokens", "tools", "tool_choice")
    body = {name: full[name] for name in kept if full.get(name)}
    body["session_id"] = request.session
    system = "\n\n".join(m.text for m in request.messages if m.role == "system")
    results = [
        {"tool_call_id": m.tool_call_id, "content": m.text}
        for m in request.messages
        if m.role == "tool"
    ]
    said = [m.text for m in request.messages if m.role == "user"]
    if len(said) > 1 or any(m.role == "assistant" for m in request.messages):
        raise UnsupportedParameterError("a session is told one message a turn", param="messages")
    values = {"system_prompt": system or None, "tool_results": results or None}
    body.update({name: value for name, value in values.items() if value is not None})
    if said:
        body["message"] = said[0]
    return body
