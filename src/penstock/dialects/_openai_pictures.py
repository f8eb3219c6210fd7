"""Pictures in a chat's answer, as OpenRouter's API says them: OpenAI's own has no place for any."""

from typing import Final

import msgspec
from msgspec import Raw

from penstock.core.events import Blob, Image
from penstock.core.ports import Shown
from penstock.core.request import Request
from penstock.wire.pictures import PLACE

_INSIDE: Final = bytes(PLACE).strip(b'"')


class PictureAddress(msgspec.Struct, frozen=True):
    """A `data:` address."""

    url: Raw


class PicturePart(msgspec.Struct, frozen=True):
    """A picture of an answer."""

    type: str
    image_url: PictureAddress
    index: int


def part(image: Image, index: int) -> PicturePart:
    """One picture, with a place for its base64."""
    return PicturePart("image_url", PictureAddress(_address(image.blob)), index)


def _address(blob: Blob) -> Raw:
    kind = blob.media_type if blob.media_type.replace("/", "").isalnum() else "image/*"
    return Raw(b'"data:%b;base64,%b"' % (kind.encode(), _INSIDE))


def shown(images: tuple[Image, ...]) -> tuple[Shown, ...]:
    """What fills the places."""
    return tuple(Shown(image.blob) for image in images)


def told(request: Request) -> bool:
    """Whether its pictures are told. Those of an answer of text are left out."""
    return request.modality == "image"
