"""Finished pictures, and the stream of their making, without I/O but for saving."""

from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from penstock.client._streaming import failure
from penstock.core.errors import ConfigError
from penstock.core.events import Event, Failed, Image, Progress

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

_ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """One finished picture. `data`: the file's bytes; `width`, `height` in pixels, 0 when unknown.

    `seed` draws it again; `prompt`: what was drawn, where the server changed the prompt.
    """

    data: bytes
    media_type: str
    width: int = 0
    height: int = 0
    seed: int | None = None
    prompt: str | None = None

    def save(self, path: str | Path) -> Path:
        """Writes the file; an ending that fits is added where there is none. The path written."""
        target = Path(path)
        if not target.suffix:
            target = target.with_suffix(_ENDINGS.get(self.media_type, ".bin"))
        target.write_bytes(self.data)
        return target

    def image(self) -> "PillowImage":
        """As a picture of Pillow. Raises `ConfigError` where Pillow is not installed."""
        try:
            pillow = import_module("PIL.Image")
        except ModuleNotFoundError as error:
            raise ConfigError("this needs Pillow: pip install 'penstock[images]'") from error
        return cast("PillowImage", pillow.open(BytesIO(self.data)))


class Making:
    """Which of a stream's events matter to somebody who waits for pictures."""

    def __init__(self) -> None:
        self._images: list[Image] = []

    def _noted(self, event: Event) -> Progress | None:
        """The progress that an event shows. Raises what broke the stream."""
        if isinstance(event, Progress):
            return event
        if isinstance(event, Image):
            self._images.append(event)
        elif isinstance(event, Failed):
            raise failure(event)
        return None


def picture(image: Image, data: bytes) -> Picture:
    """An event and its bytes."""
    return Picture(
        data=data,
        media_type=image.blob.media_type,
        width=image.width,
        height=image.height,
        seed=image.seed,
        prompt=image.prompt,
    )
