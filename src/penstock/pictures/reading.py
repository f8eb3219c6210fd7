"""Input pictures: they decode, they are what they say, and they are within bounds."""

import asyncio
import binascii
from base64 import b64decode
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Final

from PIL import Image

from penstock.config.schema import Images
from penstock.core.errors import InvalidRequestError, RequestTooLargeError
from penstock.core.messages import ImagePart
from penstock.core.pictures import Picture
from penstock.pictures.fetching import Fetcher

_FORMATS: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_UNDECLARED: Final = frozenset({"", "image/*", "application/octet-stream"})
_ALIASES: Final = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
}
_BROKEN: Final = (OSError, ValueError, SyntaxError, EOFError)
"""What Pillow raises for files that are cut or wrong."""
_BOMBS: Final = (Image.DecompressionBombError, Image.DecompressionBombWarning)

Fetch = Callable[[str, str], Awaitable[bytes]]


class Reader:
    """A `PictureReader`, within the bounds of the configuration.

    `fetch`: gets what stands at an `https:` address; `param` names the field that holds it.
    """

    def __init__(self, bounds: Images, fetch: Fetch | None = None) -> None:
        self._bounds = bounds
        self._fetch = fetch or Fetcher(bounds.max_input_bytes).fetch

    async def read(self, part: ImagePart, param: str) -> Picture:
        """As the port says. Decodes in a thread: a picture may take a second."""
        url = part.url or ""
        if url.startswith("data:"):
            return await asyncio.to_thread(self._sent, url, param)
        if not self._bounds.allow_urls:
            raise InvalidRequestError(
                f"{param}: addresses of pictures are not fetched here; send the picture itself",
                param=param,
            )
        data = await self._fetch(url, param)
        # What a server declares is not the client's word: the content decides.
        return await asyncio.to_thread(self._looked_at, data, "", param)

    def _sent(self, url: str, param: str) -> Picture:
        declared, data = self._decoded(url, param)
        return self._looked_at(data, declared, param)

    def _decoded(self, url: str, param: str) -> tuple[str, bytes]:
        head, comma, text = url.removeprefix("data:").partition(",")
        declared, *options = (word.strip().lower() for word in head.split(";"))
        if not comma or "base64" not in options:
            raise InvalidRequestError(f"{param}: expected data:image/…;base64,…", param=param)
        self._check_size(len(text) * 3 // 4 - 2, param)
        try:
            return declared, b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidRequestError(f"{param}: not valid base64", param=param) from error

    def _check_size(self, size: int, param: str) -> None:
        most = self._bounds.max_input_bytes
        if size > most:
            raise RequestTooLargeError(f"{param}: larger than {most} bytes", param=param)

    def _looked_at(self, data: bytes, declared: str, param: str) -> Picture:
        most = self._bounds.max_input_pixels
        try:
            with Image.open(BytesIO(data), formats=list(_FORMATS)) as image:
                found = self._opened(image, data, param)
        except _BOMBS as error:
            raise RequestTooLargeError(f"{param}: more than {most} pixels", param=param) from error
        except _BROKEN as error:
            raise InvalidRequestError(
                f"{param}: not a whole PNG, JPEG or WebP picture", param=param
            ) from error
        said, kind = _ALIASES.get(declared, declared), found.media_type
        if said not in _UNDECLARED and said != kind:
            raise InvalidRequestError(f"{param}: declared as {said}, but it is {kind}", param=param)
        return found

    def _opened(self, image: Image.Image, data: bytes, param: str) -> Picture:
        """Nothing is decoded before its size is known to be within bounds."""
        most, (width, height) = self._bounds.max_input_pixels, image.size
        if width * height > most:
            raise RequestTooLargeError(
                f"{param}: {width}x{height} is more than {most} pixels", param=param
            )
        if getattr(image, "n_frames", 1) > 1:
            raise InvalidRequestError(
                f"{param}: an animated picture; send one that stands still", param=param
            )
        image.load()
        kind = _FORMATS[image.format or ""]
        return Picture(data, kind, width, height, image.has_transparency_data)
