"""Our own routes: a stream's typed events, live and again; list, cancel, erase."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Final

from msgspec import Meta

from penstock.config.schema import Server
from penstock.core.description import Described
from penstock.core.errors import InvalidRequestError
from penstock.core.events import Entry, Seq, StreamId
from penstock.core.ports import Answer
from penstock.core.principals import Principal
from penstock.gateway.gateway import Gateway
from penstock.transports.http.exchange import presented_keys
from penstock.transports.http.origins import check_media_type
from penstock.transports.http.routing import OURS, OwnedRoute
from penstock.transports.http.streaming import (
    Heartbeat,
    Paced,
    Pump,
    native_frame,
    start_stream,
)
from penstock.transports.http.visits import Visit, number, whole_number
from penstock.wire import json, native, sse
from penstock.wire.native import StreamCancelled, StreamDeleted, StreamList

_MOST_LISTED: Final = 1000
_USUALLY_LISTED: Final = "50"
_LAST_SEQ: Final = 2**63 - 1
_FASTEST: Final = 1000.0

Limit = Annotated[int, Meta(ge=1, le=_MOST_LISTED, description="How many; 50 when not said.")]
After = Annotated[
    int, Meta(ge=0, le=_LAST_SEQ, description="The seq of the last event that the reader has.")
]
Speed = Annotated[
    float,
    Meta(
        ge=0,
        le=_FASTEST,
        description="1 replays with the gaps of the recording; 0, the default, at once.",
    ),
]
_FOLLOWED: Final = Described(
    items=(Entry,),
    query={"after": After, "speed": Speed},
    headers={"Last-Event-ID": After},
    also={204: None},
)
"""Each event's `id:` is its seq; the stream ends after `done` or `failed`. 204: so it has, and
`Last-Event-ID` is the last of it.
"""


class Native:
    """The routes under `/v1/streams`. A stream of another key is unknown here."""

    def __init__(self, gateway: Gateway, settings: Server, credentials: Sequence[str]) -> None:
        self._gateway = gateway
        self._settings = settings
        self._credentials = credentials

    def routes(self) -> list[OwnedRoute]:
        """All of them."""
        one = "/v1/streams/{id}"
        return [
            OwnedRoute(
                "GET",
                "/v1/streams",
                OURS,
                self._recent,
                "The newest streams",
                described=Described(told=(StreamList,), query={"limit": Limit}),
            ),
            OwnedRoute(
                "GET",
                one,
                OURS,
                self._follow,
                "A stream's events, past and live (SSE)",
                described=_FOLLOWED,
            ),
            OwnedRoute(
                "POST",
                f"{one}/cancel",
                OURS,
                self._cancel,
                "Stop a stream's run",
                described=Described(told=(StreamCancelled,)),
            ),
            OwnedRoute(
                "DELETE",
                one,
                OURS,
                self._erase,
                "Cancel a stream, then erase it",
                described=Described(told=(StreamDeleted,)),
            ),
        ]

    def _principal(self, visit: Visit) -> Principal:
        return self._gateway.authenticate(presented_keys(visit.headers, self._credentials))

    async def check_own(self, visit: Visit, stream: StreamId) -> None:
        """Raises unless the visitor's key may read this stream."""
        await self._gateway.head(stream, self._principal(visit))

    async def _recent(self, visit: Visit) -> None:
        principal = self._principal(visit)
        limit = whole_number(visit.query.get("limit", _USUALLY_LISTED), "limit", 1, _MOST_LISTED)
        found = await self._gateway.recent(principal, limit)
        await visit.answer(Answer(200, json.encode(StreamList(data=tuple(found)))))

    async def _cancel(self, visit: Visit) -> None:
        principal = self._principal(visit)
        check_media_type(visit)
        stream = visit.params["id"]
        cancelled = await self._gateway.cancel(StreamId(stream), principal)
        answer = StreamCancelled(id=stream, cancelled=cancelled)
        await visit.answer(Answer(200, json.encode(answer)))

    async def _erase(self, visit: Visit) -> None:
        principal = self._principal(visit)
        stream = visit.params["id"]
        await self._gateway.erase(StreamId(stream), principal)
        await visit.answer(Answer(200, json.encode(StreamDeleted(id=stream))))

    async def _follow(self, visit: Visit) -> None:
        principal = self._principal(visit)
        stream = StreamId(visit.params["id"])
        after = _after(visit)
        speed = number(visit.query.get("speed", "0"), "speed", 0.0, _FASTEST)
        await self._gateway.head(stream, principal)
        visit.name(b"penstock-stream", stream)
        content_type = sse.CONTENT_TYPE.encode()
        frame = native_frame
        if _last_id(visit):
            info = await self._gateway.info(stream, principal)
            if info.state != "live" and after == info.events:
                await visit.start(204, [(b"content-type", content_type)])
                await visit.finish(b"")
                return
            if after > info.events:
                frame = partial(_last_frame, info.events)
        if visit.method == "HEAD":
            await start_stream(visit, content_type, [])
            await visit.finish(b"")
            return
        seconds = self._settings.heartbeat_seconds
        with self._gateway.watch(stream, after) as watch:
            await start_stream(visit, content_type, [])
            with Heartbeat(visit.connection, seconds, sse.HEARTBEAT_WITH_IDS) as heart:
                take = Paced(watch.take, speed).take if speed else watch.take
                pump = Pump(visit, frame, heart, abort_on_failure=False)
                await pump.run(take, await take(), None if speed else watch.flow)


def _last_frame(events: int, entries: Sequence[Entry]) -> bytes:
    """The end for a reader that has more than `events`: with their number as its id the reader,
    which comes back once more, has come to the end.
    """
    return sse.frame(native.frames(entries), [str(events)] * len(entries))


def _last_id(visit: Visit) -> str:
    """Where there is one, the reader has read before: an `EventSource` comes back after the end of
    every answer, until one has the status 204 (HTML, "Server-sent events", introduction).
    """
    return visit.headers.get("last-event-id", "").strip()


def _after(visit: Visit) -> Seq:
    """The seq that the reader already has.

    `Last-Event-ID` wins: a browser's EventSource repeats the address, but moves the id on.
    """
    last_id = _last_id(visit)
    name = "Last-Event-ID" if last_id else "after"
    text = last_id or visit.query.get("after", "0")
    if not text:
        raise InvalidRequestError(f"{name} is empty", param=name)
    return Seq(whole_number(text, name, 0, _LAST_SEQ))
