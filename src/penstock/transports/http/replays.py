"""Any stream in any dialect: what one client asked for, as another would have been answered."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta

from penstock.core.description import Described
from penstock.core.errors import GatewayError, InvalidRequestError, NotFoundError
from penstock.core.events import StreamId
from penstock.core.ports import Answer
from penstock.gateway.admission import check_dialect
from penstock.gateway.gateway import Gateway
from penstock.gateway.rendering import BEGIN, Cursor, parse_event_id
from penstock.transports.http.exchange import Exchange, presented_keys
from penstock.transports.http.native import After
from penstock.transports.http.routing import OURS, OwnedRoute
from penstock.transports.http.visits import Visit, whole_number

_LAST_SEQ: Final = 2**63 - 1
_EVERY_FRAME: Final = 2**31
Streamed = Annotated[bool, Meta(description="False: the whole answer, once it is there.")]

_TRUTHS: Final = {"true": True, "1": True, "": True, "false": False, "0": False}


class Replays:
    """`GET /v1/streams/{id}/as/{dialect}`. A stream of another key is unknown here."""

    def __init__(
        self, gateway: Gateway, credentials: Sequence[str], exchanges: Mapping[str, Exchange]
    ) -> None:
        self._gateway = gateway
        self._credentials = credentials
        self._exchanges = exchanges

    def routes(self) -> list[OwnedRoute]:
        """The one."""
        path = "/v1/streams/{id}/as/{dialect}"
        summary = "A stream as a dialect tells it"
        described = Described(
            path={"dialect": Literal[tuple(sorted(self._exchanges))]},
            query={"after": After, "stream": Streamed},
            also={204: None},
        )
        return [OwnedRoute("GET", path, OURS, self._render, summary, described=described)]

    async def _render(self, visit: Visit) -> None:
        principal = self._gateway.authenticate(presented_keys(visit.headers, self._credentials))
        name = visit.params["dialect"]
        exchange = self._exchanges.get(name)
        if exchange is None:
            known = ", ".join(sorted(self._exchanges))
            raise NotFoundError(f"no dialect {name[:100]!r}; there are: {known}", param="dialect")
        check_dialect(principal, name)
        stream = visit.params["id"]
        after = _after(visit, stream)
        streamed = _truth(visit.query.get("stream", "true"))
        head = await self._gateway.head(StreamId(stream), principal)
        if visit.method == "HEAD":
            await visit.answer(Answer(200, b""))
            return
        at_rest = False
        if after is not None and visit.headers.get("last-event-id"):
            info = await self._gateway.info(StreamId(stream), principal)
            at_rest = info.state != "live" and after.seq >= info.events
        try:
            await exchange.render(visit, head, after, streamed=streamed, at_rest=at_rest)
        except GatewayError as error:
            await exchange.refuse(visit, error)


def _truth(text: str) -> bool:
    found = _TRUTHS.get(text.lower())
    if found is None:
        raise InvalidRequestError("stream is true or false", param="stream")
    return found


def _after(visit: Visit, stream: str) -> Cursor | None:
    """Where to go on: after a frame of this dialect, or after all frames of an event."""
    last_id = visit.headers.get("last-event-id")
    if last_id:
        named, cursor = parse_event_id(last_id)
        if named != stream:
            raise InvalidRequestError("Last-Event-ID is of another stream", param="Last-Event-ID")
        return cursor
    text = visit.query.get("after")
    if text is not None:
        return Cursor(whole_number(text, "after", 0, _LAST_SEQ), _EVERY_FRAME)
    return None if last_id is None else BEGIN
