"""Pictures on their way to and from an upstream: base64, formats, masks. Blocking work in threads.

A mask says where to draw anew: by `luma` where it is white, by `alpha` where it is transparent.
"""

import asyncio
import binascii
from base64 import b64decode, b64encode
from io import BytesIO
from typing import Final, Literal

import msgspec
from PIL import Image

from penstock.core.errors import EngineProtocolError

MOST_BYTES: Final = 64 * 1024 * 1024
_MOST_PIXELS: Final = 64 * 1024 * 1024
_TYPES: Final = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
_BROKEN: Final = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for files that are cut, wrong or far too large."""

MaskBy = Literal["alpha", "luma"]


class Received(msgspec.Struct, frozen=True):
    """A picture that an upstream made. `media_type` by its content; width and height in pixels."""

    data: bytes
    media_type: str
    width: int
    height: int


async def received(said: str | bytes) -> Received:
    """The picture of a base64 text, with or without `data:…;base64,`, or of its bytes.

    Raises `EngineProtocolError` for what is no whole picture.
    """
    return await asyncio.to_thread(_looked_at, said)


def _looked_at(said: str | bytes) -> Received:
    data = said if isinstance(said, bytes) else _decoded(said)
    try:
        with Image.open(BytesIO(data), formats=list(_TYPES)) as image:
            width, height = image.size
            if width * height > _MOST_PIXELS:
                raise EngineProtocolError("the upstream's picture is too large")
            kind = _TYPES[image.format or ""]
            image.load()
    except _BROKEN as error:
        raise EngineProtocolError("the upstream's picture is broken or of no known kind") from error
    return Received(data, kind, width, height)


def _decoded(text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EngineProtocolError("the upstream's picture is not valid base64") from error


def text(data: bytes) -> str:
    """Base64, as JSON bodies carry a picture."""
    return b64encode(data).decode("ascii")


async def transparent_mask(data: bytes, by: MaskBy) -> bytes:
    """A PNG that is transparent where to draw anew."""
    return await asyncio.to_thread(_transparent, data, by)


async def white_mask(data: bytes, by: MaskBy) -> bytes:
    """A PNG, black, that is white where to draw anew."""
    return await asyncio.to_thread(_white, data, by)


async def as_png(data: bytes) -> bytes:
    """The same picture as PNG with an alpha channel."""
    return await asyncio.to_thread(_png, data)


def _anew(data: bytes, by: MaskBy) -> Image.Image:
    """Grey: 255 where to draw anew."""
    with Image.open(BytesIO(data)) as image:
        if by == "luma":
            # What is transparent in a mask by luma shows nothing white.
            flat = Image.new("RGBA", image.size, "black")
            flat.alpha_composite(image.convert("RGBA"))
            return flat.convert("L")
        return image.convert("RGBA").getchannel("A").point(_inverted)


_inverted: Final = [255 - level for level in range(256)]


def _white(data: bytes, by: MaskBy) -> bytes:
    return _saved(_anew(data, by))


def _transparent(data: bytes, by: MaskBy) -> bytes:
    anew = _anew(data, by)
    mask = Image.new("RGBA", anew.size, "white")
    mask.putalpha(anew.point(_inverted))
    return _saved(mask)


def _png(data: bytes) -> bytes:
    with Image.open(BytesIO(data)) as image:
        return _saved(image.convert("RGBA"))


def _saved(image: Image.Image) -> bytes:
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
