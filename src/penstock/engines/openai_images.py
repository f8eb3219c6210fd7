"""Any server that speaks OpenAI's images API: DALL·E, gpt-image, and what is compatible."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from time import monotonic
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from penstock.core.cards import ModelCard
from penstock.core.errors import (
    BindingDownError,
    EngineProtocolError,
    GatewayError,
    ModalityError,
)
from penstock.core.events import Event
from penstock.core.ports import Album, Timeouts
from penstock.core.request import ImageAsk, Modality, Request, prompt
from penstock.core.secrets import Secret
from penstock.engines import _multipart, _openai_models
from penstock.engines import _openai_images_families as _families
from penstock.engines import _openai_images_wire as _wire
from penstock.engines._addresses import is_official, versioned
from penstock.engines._http import Reply, Upstream
from penstock.engines._image_files import MOST_BYTES
from penstock.engines._reading import Events
from penstock.wire import json

_CARDS_SECONDS: Final = 30.0
_ACCEPT: Final = "text/event-stream, application/json"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[bindings.NAME]` with `engine = "openai_images"`."""

    url: Annotated[
        str, Meta(description="Address of the server, with or without `/v1` at its end.")
    ] = "https://api.openai.com/v1"
    key: Annotated[Secret | None, Meta(description='Its API key: text, or `{ env = "NAME" }`.')] = (
        None
    )
    model: Annotated[
        str | None,
        Meta(
            description="Its model that answers when a request names none; also, what this "
            "binding can honour is what OpenAI publishes for the family of this model."
        ),
    ] = None
    headers: Annotated[
        dict[str, Secret], Meta(description="Further headers of every request; never shown.")
    ] = {}
    stream: (
        Annotated[
            bool,
            Meta(
                description="Whether the server is asked to stream. By default the GPT image "
                "models are, when pictures of the work in progress are wanted."
            ),
        ]
        | None
    ) = None
    previews: Annotated[
        int,
        Meta(
            ge=0,
            le=_wire.MOST_PREVIEWS,
            description="How many pictures of the work in progress are asked for when a streamed "
            "request does not say. Each is billed by OpenAI.",
        ),
    ] = 2
    response_format: (
        Annotated[
            Literal["b64_json", "none"],
            Meta(
                description="Whether `response_format` is sent. By default `b64_json` to the "
                "DALL·E models, which have the field; others decide themselves."
            ),
        ]
        | None
    ) = None
    verify_tls: Annotated[bool, Meta(description="Check the server's certificate.")] = True


class Engine:
    """One server with OpenAI's images API."""

    description: ClassVar[str] = "Any server with OpenAI's images API: DALL·E, gpt-image"
    outputs: ClassVar[tuple[Modality, ...]] = ("image",)

    def __init__(self, config: Config, timeouts: Timeouts) -> None:
        self._config = config
        self._timeouts = timeouts
        self._upstream = _upstream(config, timeouts)
        # Its connections are never used again: what is lost on one that was is sent again, and
        # the same pictures would be paid for twice.
        self._drawing = _upstream(config, timeouts)
        self._cards: tuple[float, Sequence[ModelCard]] | None = None

    @property
    def supports(self) -> frozenset[str]:
        """What OpenAI publishes for the family of the configured model."""
        return _families.family(self._config.model or "").supports

    async def start(self) -> None:
        """Asks for the models once, within `connect` seconds."""
        await self.models()

    async def stream(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        """Nothing: raises `ModalityError`."""
        raise ModalityError("this binding makes pictures and says nothing")
        yield ()

    async def paint(self, request: Request, album: Album) -> AsyncIterator[Sequence[Event]]:
        """Runs `request`; see `core.ports.Painter`."""
        model = request.model or self._config.model or ""
        family = _families.family(model)
        asked = _families.fitted(request, model or "this server", family)
        pictures = _wire.Pictures(
            album, asked.count, self._upstream.address, self._timeouts, self._upstream.masked
        )
        fields = self._fields(request, model, family, asked)
        async with await self._sent(fields, asked, album, family) as reply:
            if "html" in reply.media_type:
                raise EngineProtocolError("the upstream answered with a web page, is `url` right?")
            yield ()
            data = await _beginning(reply)
            if data.startswith(b"{"):
                data += await reply.whole()
                reply.finished = False
                yield await pictures.whole(data)
                return
            events = Events(max_line=MOST_BYTES)
            while data:
                for event in events.feed(data):
                    batch = await pictures.feed(event)
                    if batch:
                        yield batch
                    if pictures.ended:
                        return
                data = await reply.read()
            for event in events.end():
                if batch := await pictures.feed(event):
                    yield batch
            pictures.end()

    async def models(self) -> Sequence[ModelCard]:
        """What `/models` lists and makes pictures, asked anew after half a minute.

        Raises `BindingDownError`.
        """
        if self._cards is not None and monotonic() < self._cards[0]:
            return self._cards[1]
        try:
            cards = self._listed(await self._upstream.get("models"))
        except GatewayError as error:
            raise BindingDownError(error.message) from error
        self._cards = (monotonic() + _CARDS_SECONDS, cards)
        return cards

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._upstream.aclose()
        await self._drawing.aclose()

    def _listed(self, data: bytes | None) -> Sequence[ModelCard]:
        own = self._config.model
        if data is None and own is None:
            raise BindingDownError(
                f"{self._upstream.address} has no list of models: is `url` right? If it is, name a "
                "`model`"
            )
        cards = _openai_models.cards(data) if data is not None else ()
        # OpenAI's own list has models of every kind and does not say which; others list what
        # they serve here.
        if is_official(self._config.url):
            cards = tuple(card for card in cards if _families.family(card.name).name != "any")
        if own is not None and own not in {card.name for card in cards}:
            cards = (ModelCard(name=own), *cards)
        return tuple(
            replace(card, inputs=_inputs(_families.family(card.name)), outputs=("image",))
            for card in cards
        )

    def _fields(
        self, request: Request, model: str, family: _families.Family, asked: ImageAsk
    ) -> dict[str, str | int | bool]:
        config = self._config
        # Nobody who waits for the whole answer has asked to pay for previews.
        wanted = config.previews if request.stream else 0
        if asked.previews is not None:
            wanted = min(asked.previews, _wire.MOST_PREVIEWS)
        streamed = family.streams and wanted > 0 if config.stream is None else config.stream
        formats = family.formats
        if config.response_format is not None:
            formats = config.response_format == "b64_json"
        previews = wanted if streamed else None
        return _wire.body(prompt(request), model, asked, formats=formats, previews=previews)

    async def _sent(
        self,
        fields: dict[str, str | int | bool],
        asked: ImageAsk,
        album: Album,
        family: _families.Family,
    ) -> AbstractAsyncContextManager[Reply]:
        if not asked.inputs:
            return self._drawing.post("images/generations", json.encode(fields), _ACCEPT)
        files = await _wire.files(asked, album, png_only=family.name == "dall-e-2")
        media_type, form = _multipart.form(_wire.form_fields(fields), files)
        return self._drawing.post("images/edits", form, _ACCEPT, media_type=media_type)


def _upstream(config: Config, timeouts: Timeouts) -> Upstream:
    return Upstream(
        versioned(config.url),
        timeouts,
        key=config.key,
        headers=config.headers,
        verify_tls=config.verify_tls,
    )


def _inputs(family: _families.Family) -> tuple[Modality, ...]:
    return ("text", "image") if "inputs" in family.supports else ("text",)


async def _beginning(reply: Reply) -> bytes:
    """The first bytes after white space: `{` says that the answer came whole."""
    while data := await reply.read():
        begun = data.lstrip(b" \t\r\n")
        if begun:
            return begun
    return b""
