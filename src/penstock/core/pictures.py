"""Pictures that come in with a request."""

from typing import Protocol

import msgspec

from penstock.core.messages import ImagePart


class Picture(msgspec.Struct, frozen=True):
    """A picture that was looked at: `media_type` by its content; width and height in pixels.

    `alpha`: whether it has a channel that says what is transparent.
    """

    data: bytes
    media_type: str
    width: int
    height: int
    alpha: bool = False


class PictureReader(Protocol):
    """Takes in input pictures."""

    async def read(self, part: ImagePart, param: str) -> Picture:
        """The picture of a `data:` or `https:` address: it decodes, it is what it says it is, and
        it is within bounds. Raises `InvalidRequestError` naming `param`.
        """
