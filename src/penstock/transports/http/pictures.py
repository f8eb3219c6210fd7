"""Pictures in answers: loaded from beside the log as they are needed, never all at once."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final

from msgspec import Meta

from penstock.core.description import Described
from penstock.core.errors import InternalError
from penstock.core.events import TERMINAL, Blob, Entry, Image, Progress, StreamId
from penstock.core.ports import Answer, Head, Shown
from penstock.gateway.gateway import Gateway
from penstock.transports.http.routing import OURS, OwnedRoute
from penstock.transports.http.visits import Visit, whole_number
from penstock.wire import pictures

_LATEST: Final = 2**40
_FOR_EVER: Final = "private, max-age=31536000, immutable"

Until = Annotated[int, Meta(ge=0, le=_LATEST, description="Seconds since the epoch.")]
_PICTURE: Final = Described(texts=("image/*",))
_SIGNED: Final = Described(texts=("image/*",), query={"until": Until, "signature": str})

Take = Callable[[], Awaitable[Sequence[Entry]]]


class Gallery:
    """The pictures of one stream for one of its readers.

    Only those of the entries that were taken last are in memory; at the end, all finished ones,
    for dialects whose last word shows them again.
    """

    def __init__(self, gateway: Gateway, visit: Visit, head: Head) -> None:
        self._gateway = gateway
        self._visit = visit
        self._stream = StreamId(head.stream)
        self._made: list[Blob] = []
        self._loaded: dict[str, bytes] = {}
        self._ready: list[Sequence[Entry]] = []

    def take(self, take: Take) -> Take:
        """`take`, but at most one picture at a time, and it is loaded."""

        async def taken() -> Sequence[Entry]:
            if not self._ready:
                self._ready = _apart(await take())
            if not self._ready:
                return ()
            # A reader that stops waiting while it is loaded loses nothing: it is still ready.
            entries = self._ready[0]
            await self._load(entries)
            self._ready.pop(0)
            return entries

        return taken

    async def _load(self, entries: Sequence[Entry]) -> None:
        event = entries[-1].event
        wanted: list[Blob] = []
        if isinstance(event, Image):
            wanted = [event.blob]
        elif isinstance(event, Progress) and event.preview is not None:
            wanted = [event.preview]
        elif isinstance(event, TERMINAL):
            wanted = self._made
        self._loaded = {blob.sha256: await self._bytes(blob) for blob in wanted}
        if isinstance(event, Image):
            self._made.append(event.blob)

    async def _bytes(self, blob: Blob) -> bytes:
        return await self._gateway.picture(self._stream, blob.sha256)

    def fill(self, data: bytes, shown: Sequence[Shown]) -> bytes:
        """`data` with its places filled by what was loaded."""
        return pictures.filled(data, [self._text(one) for one in shown]) if shown else data

    async def filled(self, answer: Answer) -> Answer:
        """A whole answer with its pictures."""
        if not answer.pictures:
            return answer
        self._loaded = {
            one.blob.sha256: await self._bytes(one.blob)
            for one in answer.pictures
            if one.form == "base64"
        }
        body = self.fill(answer.body, answer.pictures)
        return Answer(answer.status, body, answer.content_type, answer.headers)

    def _text(self, shown: Shown) -> bytes:
        if shown.form == "address":
            path = self._gateway.picture_address(self._stream, shown.blob.sha256)
            return f"{_origin(self._visit)}{path}".encode()
        data = self._loaded.get(shown.blob.sha256)
        if data is None:
            raise InternalError("an encoder shows a picture that its entry does not name")
        return pictures.base64(data)


def _apart(entries: Sequence[Entry]) -> list[Sequence[Entry]]:
    """Cut after each entry with a picture. What failed at once is in one piece with its failure."""
    found: list[Sequence[Entry]] = []
    begin = 0
    for n, entry in enumerate(entries, 1):
        event = entry.event
        pictured = isinstance(event, Image) or (
            isinstance(event, Progress) and event.preview is not None
        )
        if pictured or n == len(entries):
            found.append(entries[begin:n])
            begin = n
    return found


def _origin(visit: Visit) -> str:
    """The address by which this client reached us; it knows it by `Host`."""
    scheme = "https" if visit.headers.get("x-forwarded-proto", "") == "https" else "http"
    host = visit.headers.get("host", "")
    safe = host and all(c.isalnum() or c in "-._:[]" for c in host)
    return f"{scheme}://{host}" if safe else ""


class Blobs:
    """A stream's pictures by themselves: with the key, or by an address that was signed here."""

    def __init__(
        self, gateway: Gateway, check: Callable[[Visit, StreamId], Awaitable[None]]
    ) -> None:
        self._gateway = gateway
        self._check = check

    def routes(self) -> list[OwnedRoute]:
        """Both."""
        kept, signed = "/v1/streams/{id}/blobs/{sha256}", "/v1/images/{id}/{sha256}"
        return [
            OwnedRoute("GET", kept, OURS, self._own, "A picture of a stream", described=_PICTURE),
            OwnedRoute(
                "GET",
                signed,
                OURS,
                self._signed,
                "The same, by a signed address",
                open=True,
                described=_SIGNED,
            ),
        ]

    async def _own(self, visit: Visit) -> None:
        stream = StreamId(visit.params["id"])
        await self._check(visit, stream)
        await self._send(visit, stream)

    async def _signed(self, visit: Visit) -> None:
        until = whole_number(visit.query.get("until", ""), "until", 0, _LATEST)
        stream, sha = StreamId(visit.params["id"]), visit.params["sha256"]
        signature = visit.query.get("signature", "")
        self._gateway.check_picture_address(stream, sha, until, signature)
        await self._send(visit, stream)

    async def _send(self, visit: Visit, stream: StreamId) -> None:
        data = await self._gateway.picture(stream, visit.params["sha256"])
        headers = {"Cache-Control": _FOR_EVER, "X-Content-Type-Options": "nosniff"}
        await visit.answer(Answer(200, data, pictures.media_type(data), headers))
