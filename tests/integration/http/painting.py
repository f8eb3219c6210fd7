"""A small real painter behind the HTTP app: it draws with Pillow, step by step."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import ClassVar

from PIL import Image as Pillow
from PIL import ImageDraw, ImageOps
from tests.integration.http.parts import Scripted
from typing_extensions import override

from penstock.config.schema import Config
from penstock.core.cards import ModelCard
from penstock.core.errors import GatewayError
from penstock.core.events import Done, Event, Image, Progress, Usage
from penstock.core.ports import Album
from penstock.core.request import IMAGE_FEATURES, ImageAsk, Modality, Request
from penstock.gateway.addresses import Addresses
from penstock.pictures.keys import signing_key
from penstock.pictures.reading import Reader

SIZE = (24, 16)
STEPS = 4
_FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}

Step = Callable[[int], Awaitable[None]]


async def at_once(_step: int) -> None:
    """Nothing to wait for."""


class Painter(Scripted):
    """Draws a disc that grows with each step, in a colour made of the seed; an input is turned into
    its negative, where the mask is transparent. Waits for `step` before each step. Raises
    `refusal` in place of that.
    """

    description: ClassVar[str] = "draws discs"
    outputs: ClassVar[tuple[Modality, ...]] = ("image",)
    supports: ClassVar[frozenset[str]] = IMAGE_FEATURES - {"style", "moderation", "input_fidelity"}
    usual: ClassVar[str] = "discs"

    def __init__(self, step: Step = at_once) -> None:
        super().__init__({})
        self.step = step
        self.refusal: GatewayError | None = None
        self.painted: list[Request] = []

    @override
    async def models(self) -> Sequence[ModelCard]:
        """One."""
        return [ModelCard(name="discs", inputs=("text", "image"), outputs=("image",))]

    async def paint(self, request: Request, album: Album) -> AsyncIterator[Sequence[Event]]:
        """As the port says."""
        self.painted.append(request)
        if self.refusal is not None:
            raise self.refusal
        asked = request.image or ImageAsk()
        seed = 1 if request.sampling.seed is None else request.sampling.seed
        whole = False
        try:
            yield []
            for n in range(asked.count):
                async for batch in self._one(asked, seed + n, n, album):
                    yield batch
            whole = True
            yield [Usage(input_tokens=0, output_tokens=0, images=asked.count), Done(reason="stop")]
        except (GeneratorExit, asyncio.CancelledError):
            if not whole:
                self.stopped.append(request.model)
            raise

    async def _one(
        self, asked: ImageAsk, seed: int, n: int, album: Album
    ) -> AsyncIterator[Sequence[Event]]:
        steps = asked.steps or STEPS
        canvas = await self._canvas(asked, album)
        for step in range(1, steps + 1):
            await self.step(step)
            radius = canvas.height * step // steps // 2
            x, y = canvas.width // 2, canvas.height // 2
            colour = (seed * 40 % 256, 255 - seed % 256, 128)
            ImageDraw.Draw(canvas).ellipse((x - radius, y - radius, x + radius, y + radius), colour)
            preview = await album.keep(_bytes(canvas.resize((6, 4)), "jpeg"), "image/jpeg")
            yield [Progress(what="step", at=step, of=steps, preview=preview)]
        kind = asked.file_format or "png"
        blob = await album.keep(_bytes(canvas, kind), f"image/{kind}")
        made: dict[str, str | int | float | bool] = {"steps": steps}
        yield [
            Image(
                part=n,
                blob=blob,
                width=canvas.width,
                height=canvas.height,
                seed=seed,
                made_with=made,
            )
        ]

    async def _canvas(self, asked: ImageAsk, album: Album) -> Pillow.Image:
        if not asked.inputs:
            return Pillow.new("RGB", asked.size or SIZE)
        assert asked.inputs[0].blob is not None
        with Pillow.open(BytesIO(await album.get(asked.inputs[0].blob))) as image:
            first = image.convert("RGB")
        negative = ImageOps.invert(first)
        if asked.mask is None or asked.mask.blob is None:
            return negative
        with Pillow.open(BytesIO(await album.get(asked.mask.blob))) as mask:
            kept = (
                mask.getchannel("A")
                if asked.mask_by == "alpha"
                else ImageOps.invert(mask.convert("L"))
            )
        return Pillow.composite(first, negative, kept)


def _bytes(image: Pillow.Image, kind: str) -> bytes:
    out = BytesIO()
    image.save(out, _FORMATS[kind])
    return out.getvalue()


def picture(
    colour: str = "red", size: tuple[int, int] = (8, 8), kind: str = "png", mode: str = "RGB"
) -> bytes:
    """A picture of one colour."""
    return _bytes(Pillow.new(mode, size, colour), kind)


def opened(data: bytes) -> Pillow.Image:
    """A whole picture of these bytes."""
    with Pillow.open(BytesIO(data)) as image:
        image.load()
        return image.copy()


def with_pictures(
    folder: Path, reader: Reader | None = None
) -> Callable[[Config], dict[str, object]]:
    """The parts of a gateway that makes pictures. The signing key lies in `folder`."""

    def more(config: Config) -> dict[str, object]:
        addresses = Addresses(signing_key(folder / "key"), config.images.url_seconds)
        return {"pictures": reader or Reader(config.images), "addresses": addresses}

    return more
