"""The pictures of a request and of its stream: bounds, what comes in, what is kept."""

from collections.abc import AsyncIterator, Sequence
from typing import cast

import msgspec

from penstock.config.schema import Images
from penstock.core.errors import (
    InvalidRequestError,
    ModalityError,
    UnavailableError,
    UnsupportedParameterError,
)
from penstock.core.events import Blob, Event, StreamId
from penstock.core.messages import ImagePart
from penstock.core.pictures import Picture, PictureReader
from penstock.core.ports import Album, Engine, Painter, StreamLog
from penstock.core.request import ImageAsk, Request, prompt


class Kept:
    """An `Album` beside the log."""

    def __init__(self, log: StreamLog, stream: StreamId) -> None:
        self._log = log
        self._stream = stream

    async def keep(self, data: bytes, media_type: str) -> Blob:
        """As the port says."""
        return await self._log.put_blob(self._stream, data, media_type)

    async def get(self, blob: Blob) -> bytes:
        """As the port says."""
        return await self._log.blob(self._stream, blob.sha256)


def painted(engine: Engine, request: Request, album: Album) -> AsyncIterator[Sequence[Event]]:
    """The engine's run of a request for pictures."""
    if not isinstance(engine, Painter):
        raise ModalityError("this binding makes no image")
    return cast("Painter", engine).paint(request, album)


def check(request: Request, bounds: Images) -> None:
    """Raises `InvalidRequestError` for what is beyond the configuration's bounds. Pure."""
    asked = request.image or ImageAsk()
    # A free-form request says all this within its `parameters`.
    at = "parameters." if request.freeform else ""
    if not prompt(request).strip():
        field = "input_data" if request.freeform and not request.legacy else "prompt"
        raise InvalidRequestError(f"{field}: a text is needed", param=field)
    _check_size(asked.size, bounds, f"{at}size")
    _within(f"{at}n", asked.count, 1, bounds.max_count)
    _within(f"{at}steps", asked.steps, 1, bounds.max_steps)
    _within(f"{at}strength", asked.strength, 0, 1)
    _within(f"{at}guidance_scale", asked.guidance_scale, 0, 100)
    _within("output_compression", asked.compression, 0, 100)
    if len(asked.inputs) > bounds.max_inputs:
        field = _field(asked.inputs[bounds.max_inputs], "image")
        raise InvalidRequestError(f"{field}: at most {bounds.max_inputs} pictures", param=field)
    if asked.mask is not None and not asked.inputs:
        field = _field(asked.mask, "mask")
        raise InvalidRequestError(f"{field}: a mask needs an input picture", param=field)
    if asked.strength is not None and not asked.inputs:
        raise UnsupportedParameterError(
            "strength: there is no input picture to keep", param="strength"
        )


def _field(part: ImagePart, otherwise: str) -> str:
    return part.at or otherwise


def _check_size(size: tuple[int, int] | None, bounds: Images, name: str) -> None:
    if size is None:
        return
    width, height = size
    for side in size:
        _within(name, side, 1, bounds.max_side)
    if width * height > bounds.max_pixels:
        raise InvalidRequestError(
            f"{name}: at most {bounds.max_pixels} pixels, not {width}x{height}", param=name
        )


def _within(name: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        raise InvalidRequestError(f"{name} must be from {least} to {most}", param=name)


async def taken_in(request: Request, reader: PictureReader | None, album: Album) -> Request:
    """The request with its input pictures kept in the album, every one of them checked.

    Raises `InvalidRequestError` naming the picture.
    """
    asked = request.image
    if asked is None or not asked.inputs:
        return request
    if reader is None:
        raise UnavailableError("input pictures can't be read here: install 'penstock[images]'")
    pictures = [
        await reader.read(part, _field(part, f"image[{n}]")) for n, part in enumerate(asked.inputs)
    ]
    mask = None
    if asked.mask is not None:
        field = _field(asked.mask, "mask")
        mask = await reader.read(asked.mask, field)
        _check_mask(mask, pictures[0], asked, field)
    kept = [ImagePart(blob=await album.keep(p.data, p.media_type)) for p in pictures]
    image = msgspec.structs.replace(asked, inputs=tuple(kept))
    if mask is not None:
        blob = await album.keep(mask.data, mask.media_type)
        image = msgspec.structs.replace(image, mask=ImagePart(blob=blob))
    return msgspec.structs.replace(request, image=image)


def _check_mask(mask: Picture, first: Picture, asked: ImageAsk, field: str) -> None:
    if (mask.width, mask.height) != (first.width, first.height):
        raise InvalidRequestError(
            f"{field}: the mask is {mask.width}x{mask.height}, "
            f"the picture {first.width}x{first.height}",
            param=field,
        )
    if asked.mask_by == "alpha" and not mask.alpha:
        raise InvalidRequestError(
            f"{field}: the mask has no alpha channel, which says where to draw", param=field
        )


def with_inputs(request: Request, taken: Request) -> Request:
    """A request that names the pictures that were kept for another form of it."""
    image = request.image
    if image is None or taken.image is None or not image.inputs:
        return request
    kept = msgspec.structs.replace(image, inputs=taken.image.inputs, mask=taken.image.mask)
    return msgspec.structs.replace(request, image=kept)
