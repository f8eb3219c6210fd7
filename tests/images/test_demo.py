"""The demo image model, with nothing configured."""

import asyncio
import os
import re
import subprocess
import sys
from io import BytesIO

import pytest
from PIL import Image as Picture
from PIL import ImageChops, ImageStat
from tests.images.painting import ROOT, ask, drawn, kept, painter

from penstock.testing.engines import Scrapbook

DEMO = ROOT / "src/penstock/models/penstock-demo-image"

pytestmark = pytest.mark.images


def house() -> Picture.Image:
    """A red square on light blue."""
    image = Picture.new("RGB", (64, 64), (150, 200, 240))
    image.paste((220, 40, 40), (20, 24, 44, 48))
    return image


def difference(one: Picture.Image, other: Picture.Image) -> float:
    """Mean of all channels, 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


async def test_it_draws_as_it_was_judged_unless_told_otherwise():
    async with asyncio.timeout(100), painter(None) as engine:
        run = await drawn(engine, ask("three green triangles", steps=None))
    assert run.images[0].made_with["steps"] == 25
    assert run.images[0].made_with["guidance_scale"] == 3.0


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


def test_it_is_small_and_says_what_it_is():
    assert sum(path.stat().st_size for path in DEMO.rglob("*")) <= 8_000_000
    assert "It is a demo" in (DEMO / "MODEL_CARD.md").read_text()


@pytest.mark.timeout(300)
def test_held_out_captions_are_drawn_right():
    """All 200, judged by the checker that `prove.py` proves: 80 % right, 60 % of each kind."""
    done = subprocess.run(
        [sys.executable, "evaluate.py", "--model", DEMO, "--at-least", "0.8", "--threads", "1"],
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        cwd=ROOT / "tools/demo_image_model",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rates = re.findall(r"^(\w+) +(\d+) of +(\d+)", done.stdout, re.MULTILINE)
    assert [(kind, int(of)) for kind, _, of in rates] == [
        ("pair", 80),
        ("count", 40),
        ("place", 40),
        ("scene", 40),
        ("all", 200),
    ]
    assert all(int(right) / int(of) >= 0.6 for _, right, of in rates)
