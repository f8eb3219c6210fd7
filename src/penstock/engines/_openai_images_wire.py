"""OpenAI's images API in bytes: bodies for `/images/generations` and `/images/edits`, and answers.

Source: the API reference, "Create image", "Create image edit" and "Image streaming", as typed by
openai-python 3.52.0.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.core.errors import EngineProtocolError
from penstock.core.events import Done, Event, Failed, Image, Progress, Usage
from penstock.core.ports import Album, Timeouts
from penstock.core.request import ImageAsk
from penstock.engines import _said
from penstock.engines._image_files import Received, as_png, received, transparent_mask
from penstock.engines._image_url import fetched
from penstock.engines._multipart import File
from penstock.wire import json
from penstock.wire.sse import ServerSentEvent

MOST_PREVIEWS: Final = 3
"""The API's own limit of `partial_images`."""
_EXTENSIONS: Final = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
_TOLD: Final = ("size", "quality", "background", "output_format")


class _Usage(msgspec.Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Picture(msgspec.Struct, frozen=True):
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class _Settings(msgspec.Struct, frozen=True):
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None


class _Answer(_Settings, frozen=True):
    data: list[_Picture] | None = None
    usage: _Usage | None = None
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Event(_Settings, frozen=True):
    type: str = ""
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None
    partial_image_index: int | None = None
    usage: _Usage | None = None
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def body(
    prompt: str, model: str, asked: ImageAsk, *, formats: bool, previews: int | None
) -> dict[str, str | int | bool]:
    """The fields of both routes, in the order of the reference. `previews`: none: not streamed.

    The end user is never named: `user` and `safety_identifier` are not ours to tell.
    """
    size = asked.size
    found: dict[str, str | int | bool | None] = {
        "model": model or None,
        "prompt": prompt,
        "n": asked.count if asked.count != 1 else None,
        "size": f"{size[0]}x{size[1]}" if size is not None else None,
        "quality": asked.quality,
        "style": asked.style,
        "background": asked.background,
        "output_format": asked.file_format,
        "output_compression": asked.compression,
        "moderation": asked.moderation,
        "input_fidelity": asked.input_fidelity,
        "response_format": "b64_json" if formats else None,
        "stream": True if previews is not None else None,
        "partial_images": previews,
    }
    return {name: value for name, value in found.items() if value is not None}


async def files(asked: ImageAsk, album: Album, *, png_only: bool) -> list[File]:
    """The input pictures and the mask, as the edits route takes them.

    `image` alone, `image[]` for several, as openai-python writes arrays; a mask is a PNG,
    transparent where to draw anew.
    """
    found: list[File] = []
    field = "image" if len(asked.inputs) == 1 else "image[]"
    for n, part in enumerate(asked.inputs):
        if part.blob is None:
            raise EngineProtocolError("an input picture was not kept")
        data, kind = await album.get(part.blob), part.blob.media_type
        if png_only and kind != "image/png":
            data, kind = await as_png(data), "image/png"
        found.append(File(field, f"image{n}.{_EXTENSIONS.get(kind, 'png')}", kind, data))
    if asked.mask is not None and asked.mask.blob is not None:
        data = await transparent_mask(await album.get(asked.mask.blob), asked.mask_by)
        found.append(File("mask", "mask.png", "image/png", data))
    return found


class Pictures:
    """Reads one answer, streamed or whole, into events. `count` pictures were asked for."""

    def __init__(
        self, album: Album, count: int, address: str, timeouts: Timeouts, mask: _said.Mask
    ) -> None:
        self._album = album
        self._count = count
        self._address = address
        self._timeouts = timeouts
        self._mask = mask
        self._made = 0
        self._tokens = (0, 0)
        self.ended = False

    async def whole(self, data: bytes) -> list[Event]:
        """The events of an answer that is not streamed. Raises `EngineProtocolError`."""
        answer = json.decode(data, _Answer, EngineProtocolError)
        if isinstance(answer.error, msgspec.Raw) and bytes(answer.error) != b"null":
            return [self._failed(answer.error)]
        pictures = answer.data or []
        if not pictures:
            raise EngineProtocolError("the upstream answered without a picture")
        found: list[Event] = []
        for picture in pictures:
            found.append(await self._image(picture, answer))
        self._count_tokens(answer.usage)
        return [*found, *self._end()]

    async def feed(self, event: ServerSentEvent) -> list[Event]:
        """The events of one event of a stream. What has no published name is skipped."""
        if event.data.startswith(b"[DONE]"):
            return self.end()
        told = json.decode(event.data, _Event, EngineProtocolError)
        kind = told.type or event.event
        if isinstance(told.error, msgspec.Raw) or kind == "error":
            blame = told.error if isinstance(told.error, msgspec.Raw) else msgspec.Raw(event.data)
            return [self._failed(blame)]
        if kind.endswith(".partial_image") and told.b64_json:
            return [await self._preview(told)]
        if kind.endswith(".completed"):
            picture = _Picture(told.b64_json, told.url, told.revised_prompt)
            image = await self._image(picture, told)
            self._count_tokens(told.usage)
            return [image, *self._end()] if self._made == self._count else [image]
        return []

    def end(self) -> list[Event]:
        """The stream is over. Raises `EngineProtocolError` when pictures are missing."""
        if self.ended:
            return []
        raise EngineProtocolError(
            f"the upstream stopped after {self._made} of {self._count} pictures"
        )

    def _end(self) -> list[Event]:
        self.ended = True
        given, made = self._tokens
        usage = Usage(input_tokens=given, output_tokens=made, images=self._made)
        return [usage, Done(reason="stop")]

    def _failed(self, error: msgspec.Raw) -> Failed:
        self.ended = True
        return _said.failure(json.decode(bytes(error), object, EngineProtocolError), self._mask)

    def _count_tokens(self, usage: _Usage | None) -> None:
        if usage is not None:
            given, made = self._tokens
            self._tokens = (given + (usage.input_tokens or 0), made + (usage.output_tokens or 0))

    async def _preview(self, told: _Event) -> Progress:
        picture = await received(told.b64_json or "")
        blob = await self._album.keep(picture.data, picture.media_type)
        # The API tells no step. Its index counts the previews of a picture from 0.
        at = (told.partial_image_index or 0) + 1
        return Progress(what="step", at=at, preview=blob)

    async def _image(self, picture: _Picture, told: _Settings) -> Image:
        found = await self._received(picture)
        blob = await self._album.keep(found.data, found.media_type)
        part, self._made = self._made, self._made + 1
        settings = {name: getattr(told, name) for name in _TOLD}
        return Image(
            part=part,
            blob=blob,
            width=found.width,
            height=found.height,
            prompt=picture.revised_prompt or None,
            made_with={name: value for name, value in settings.items() if value},
        )

    async def _received(self, picture: _Picture) -> Received:
        if picture.b64_json:
            return await received(picture.b64_json)
        if picture.url:
            if picture.url.startswith("data:"):
                return await received(picture.url)
            return await received(await fetched(picture.url, self._address, self._timeouts))
        raise EngineProtocolError("the upstream answered with a picture that is not there")


def form_fields(fields: dict[str, str | int | bool]) -> Sequence[tuple[str, str]]:
    """As a form says them: `true` in lower case."""
    return [
        (name, str(value).lower() if isinstance(value, bool) else str(value))
        for name, value in fields.items()
    ]
