"""The demo image model, with nothing configured."""

import asyncio
from io import BytesIO

import pytest
from PIL import Image as Picture
from PIL import ImageChops, ImageStat
from tests.images.painting import ROOT, ask, drawn, kept, painter

from penstock.testing.engines import Scrapbook

DEMO = ROOT / "src/penstock/models/penstock-demo-image"

pytestmark = [
    pytest.mark.images,
    pytest.mark.skipif(not DEMO.is_dir(), reason="the demo image model is not here yet"),
]


def house() -> Picture.Image:
    """A red square on light blue."""
    image = Picture.new("RGB", (64, 64), (150, 200, 240))
    image.paste((220, 40, 40), (20, 24, 44, 48))
    return image


def difference(one: Picture.Image, other: Picture.Image) -> float:
    """Mean of all channels, 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


async def test_it_draws_and_starts_from_a_picture_as_far_as_it_is_told():
    async with asyncio.timeout(100), painter(None) as engine:
        (card,) = await engine.models()
        assert card.name == "penstock-demo-image"
        text = await drawn(engine, ask("a red circle above a blue square", steps=20))
        assert text.picture().size == (64, 64)
        album = Scrapbook()
        start = {"type": "image", "blob": (await kept(album, house())).blob}
        apart = []
        for strength in (0.1, 1.0):
            asked = ask("a green triangle", steps=20, strength=strength, inputs=[start])
            run = await drawn(engine, asked, album)
            apart.append(difference(Picture.open(BytesIO(run.file())), house()))
        assert apart[0] < apart[1]
