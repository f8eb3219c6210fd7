"""One dialect's route: authenticate, parse, submit or find, render, answer."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, cast, get_args

import msgspec

from penstock.config.schema import Server
from penstock.core.errors import GatewayError, InvalidRequestError, from_code
from penstock.core.events import BEGINNING, StreamId
from penstock.core.folding import Folder
from penstock.core.ports import Answer, Call, Dialect, Head, OnDisconnect, Route
from penstock.core.principals import Principal
from penstock.core.queries import Query
from penstock.core.request import Request
from penstock.gateway.admission import COUNTED, check_dialect
from penstock.gateway.gateway import Gateway
from penstock.gateway.rendering import BEGIN, Cursor, parse_event_id, render_after
from penstock.gateway.watching import Watch
from penstock.transports.http.origins import check_media_type
from penstock.transports.http.pictures import Gallery
from penstock.transports.http.protocol import AbortedResponseError
from penstock.transports.http.streaming import (
    SLICE,
    Framer,
    Heartbeat,
    Source,
    stream_reply,
)
from penstock.transports.http.visits import Visit
from penstock.wire import sse

_POLICIES: Final = get_args(OnDisconnect)
_NOBODY: Final = Principal(id="")
_SPACE: Final = b" "


def presented_keys(headers: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Every key that a request presents, in the order of `names`; empty headers are none."""
    found: list[str] = []
    for name in names:
        value = headers.get(name, "").strip()
        if name == "authorization":
            scheme, _, value = value.partition(" ")
            value = value.strip() if scheme.lower() == "bearer" else ""
        if value:
            found.append(value)
    return found


class Exchange:
    """Answers one route of one dialect. `credentials` are the headers that may hold a key."""

    def __init__(
        self,
        gateway: Gateway,
        settings: Server,
        dialect: Dialect,
        route: Route,
        credentials: Sequence[str],
    ) -> None:
        self._gateway = gateway
        self._settings = settings
        self._dialect = dialect
        self._route = route
        self._credentials = credentials

    async def __call__(self, visit: Visit) -> None:
        """One request. Raises what goes wrong before the answer has begun."""
        principal = _NOBODY
        if not self._route.open:
            keys = presented_keys(visit.headers, self._credentials)
            principal = self._gateway.authenticate(keys)
            check_dialect(principal, self._dialect.name)
        body = b""
        if self._route.operation == "put_blob":
            await self._upload(visit, principal)
            return
        if self._route.method not in ("GET", "HEAD"):
            check_media_type(visit, self._route.media_type)
            body = await visit.body(self._settings.max_body_bytes)
        after = None
        if self._route.operation == "generate":
            last_id = visit.headers.get("last-event-id")
            if last_id:
                await self._attach(visit, principal, last_id)
                return
            after = None if last_id is None else BEGIN
            _policy(visit.headers)
        call = Call(self._route, visit.params, visit.query, visit.headers, body)
        asked = self._dialect.parse(call)
        if isinstance(asked, Query):
            await self._find(visit, asked, principal)
        else:
            await self._generate(visit, asked, principal, after)

    async def _find(self, visit: Visit, query: Query, principal: Principal) -> None:
        if query.ignored:
            visit.name(b"penstock-ignored", ", ".join(query.ignored))
        try:
            found = await self._gateway.find(query, principal)
        finally:
            if query.operation in COUNTED:
                self._name_allowance(visit, principal)
        await visit.answer(self._dialect.answer(found))

    async def _upload(self, visit: Visit, principal: Principal) -> None:
        """A file, which goes to the store as it comes: it may be larger than memory."""
        asked = self._dialect.parse(
            Call(self._route, visit.params, visit.query, visit.headers, b"")
        )
        assert isinstance(asked, Query)
        chunks = visit.chunks(self._settings.max_upload_bytes)
        found = await self._gateway.upload(asked, principal, chunks)
        await visit.answer(self._dialect.answer(found))

    async def _generate(
        self, visit: Visit, request: Request, principal: Principal, after: Cursor | None
    ) -> None:
        policy = _policy(visit.headers)
        try:
            head = await self._gateway.submit(request, self._dialect.name, principal, policy)
        finally:
            self._name_allowance(visit, principal)
        # Nothing is awaited between the start of a run and its first reader: no run is orphaned by
        # a client that leaves just then.
        with self._gateway.watch(StreamId(head.stream), BEGINNING) as watch:
            _name_stream(visit, head)
            if request.stream:
                seconds = self._settings.opening_seconds
                await self._stream(visit, watch, head, after, seconds)
            else:
                await self._whole(visit, watch, head)

    def _name_allowance(self, visit: Visit, principal: Principal) -> None:
        """Tells a key with a limit what is left of it, refused or not; in LLMaaS' header names."""
        left = self._gateway.entrance.allowance(principal)
        if left is not None:
            visit.name(b"x-ratelimit-limit-requests", str(left.limit))
            visit.name(b"x-ratelimit-remaining-requests", str(left.remaining))
            visit.name(b"x-ratelimit-reset-requests", str(left.reset))

    async def _attach(self, visit: Visit, principal: Principal, last_id: str) -> None:
        """Continues a stream of this dialect after what its reader has; starts nothing."""
        stream, after = parse_event_id(last_id)
        head = await self._gateway.head(StreamId(stream), principal)
        if head.dialect != self._dialect.name:
            raise InvalidRequestError(
                f"the stream of Last-Event-ID is one of {head.dialect}", param="Last-Event-ID"
            )
        with self._gateway.watch(StreamId(stream), BEGINNING) as watch:
            _name_stream(visit, head)
            await self._stream(visit, watch, head, after, None)

    async def render(
        self,
        visit: Visit,
        head: Head,
        after: Cursor | None,
        *,
        streamed: bool,
        at_rest: bool = False,
    ) -> None:
        """A stream of whatever dialect, in this one: after `after`, or whole. With `at_rest` it has
        ended, and its reader has come back: where nothing is left the status is 204.

        Raises what it ended with, when it failed before anything was said or is asked for whole.
        """
        request = msgspec.structs.replace(head.request, stream=streamed)
        if head.dialect != self._dialect.name:
            request = msgspec.structs.replace(request, form="", legacy=False, plain=False)
        head = msgspec.structs.replace(head, request=request)
        with self._gateway.watch(StreamId(head.stream), BEGINNING) as watch:
            _name_stream(visit, head)
            if at_rest and streamed and await self._nothing_left(head, after):
                await visit.start(204, [(b"content-type", sse.CONTENT_TYPE.encode())])
                await visit.finish(b"")
            elif streamed:
                await self._stream(visit, watch, head, after, None)
            else:
                await self._whole(visit, watch, head)

    async def _nothing_left(self, head: Head, after: Cursor | None) -> bool:
        """Whether a reader of an ended stream that has it up to `after` would be told nothing."""
        if after is None or self._dialect.opening(head.request).framing != "sse":
            return False
        encoder = self._dialect.encoder(head.request)
        with self._gateway.watch(StreamId(head.stream), BEGINNING) as watch:
            while entries := await watch.take():
                for begin in range(0, len(entries), SLICE):
                    if render_after(encoder, entries[begin : begin + SLICE], after):
                        return False
                    await asyncio.sleep(0)
        return True

    async def refuse(self, visit: Visit, error: GatewayError) -> None:
        """Answers with an error in this dialect's shape."""
        if visit.started:
            raise AbortedResponseError
        await visit.answer(self._dialect.error(error))

    async def _stream(
        self, visit: Visit, watch: Watch, head: Head, after: Cursor | None, wait: float | None
    ) -> None:
        request = head.request
        if not request.stream:
            request = msgspec.structs.replace(request, stream=True)
        opening = self._dialect.opening(request)
        encoder = self._dialect.encoder(request)
        beat = self._settings.heartbeat_seconds
        source, fill = Source(watch.take, watch.flow), None
        if request.modality == "image":
            gallery = Gallery(self._gateway, visit, head)
            source, fill = Source(gallery.take(watch.take), None), gallery.fill
        frame = Framer(opening.framing, encoder, head.stream, after, fill)
        await stream_reply(visit, source, frame, opening, wait, beat)

    async def _whole(self, visit: Visit, watch: Watch, head: Head) -> None:
        """The reply in one piece. A long wait is bridged with white space, which JSON allows."""
        folder = Folder()
        seconds = self._settings.heartbeat_seconds
        try:
            # The old lollms form may be answered in plain text, where a space would be text.
            async with asyncio.timeout(None if head.request.plain else seconds):
                await _fold(watch, folder)
        except TimeoutError:
            await visit.start(200, [(b"content-type", b"application/json")])
            await visit.write(_SPACE)
            with Heartbeat(visit.connection, seconds, _SPACE):
                await _fold(watch, folder)
        answer = self._rendered(folder, head, begun=visit.started)
        answer = await Gallery(self._gateway, visit, head).filled(answer)
        if not visit.started:
            await visit.answer(answer)
        elif answer.status < 400:
            await visit.finish(answer.body)
        else:
            await visit.write(answer.body)
            raise AbortedResponseError

    def _rendered(self, folder: Folder, head: Head, *, begun: bool) -> Answer:
        reply = folder.reply()
        if reply.failed is None:
            return self._dialect.whole(head.request, reply)
        failed = reply.failed
        error = from_code(failed.code, failed.message, failed.param)
        if begun:
            return self._dialect.error(error)
        raise error


async def _fold(watch: Watch, folder: Folder) -> None:
    while entries := await watch.take():
        for entry in entries:
            folder.feed(entry)


def _name_stream(visit: Visit, head: Head) -> None:
    visit.name(b"penstock-stream", head.stream)
    if head.request.ignored:
        visit.name(b"penstock-ignored", ", ".join(head.request.ignored))


def _policy(headers: Mapping[str, str]) -> OnDisconnect | None:
    value = headers.get("penstock-on-disconnect")
    if value is None:
        return None
    wanted = value.strip().lower()
    if wanted not in _POLICIES:
        raise InvalidRequestError(
            f"Penstock-On-Disconnect must be one of {', '.join(_POLICIES)}",
            param="Penstock-On-Disconnect",
        )
    return cast("OnDisconnect", wanted)
