"""Engines and requests for tests that draw."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import cast

import msgspec
from PIL import Image as Picture

from penstock.core.events import Done, Event, Image, Progress
from penstock.core.messages import ImagePart, say
from penstock.core.ports import Timeouts
from penstock.core.request import ImageAsk, Request, Sampling
from penstock.engines.diffusers import Config, Engine
from penstock.testing.engines import Scrapbook

ROOT = Path(__file__).parents[2]


def by_module(*arguments: str) -> None:
    """Runs one of the modules beside this, which import torch."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@asynccontextmanager
async def painter(path: Path | None, timeouts: Timeouts | None = None, **settings: object):
    """An engine on the folder, started."""
    config = msgspec.convert({"path": str(path) if path else None, **settings}, Config)
    engine = Engine(config, timeouts or Timeouts())
    try:
        await engine.start()
        yield engine
    finally:
        await engine.aclose()


def ask(text: str = "a red circle", seed: int | None = 1, **image: object) -> Request:
    """For pictures of three steps, unless said otherwise."""
    asked = msgspec.convert({"steps": 3, **image}, ImageAsk)
    sampling = Sampling(seed=seed)
    return Request(modality="image", messages=(say("user", text),), image=asked, sampling=sampling)


class Run:
    """A run and its album. `events`: all that came."""

    def __init__(self, engine: Engine, request: Request, album: Scrapbook | None = None) -> None:
        self.album = album or Scrapbook()
        self.events: list[Event] = []
        self._batches = cast("AsyncGenerator[Sequence[Event]]", engine.paint(request, self.album))

    async def whole(self) -> "Run":
        """Until the end."""
        async with aclosing(self._batches):
            async for batch in self._batches:
                self.events += batch
        return self

    async def begun(self) -> "Run":
        """Leaves as soon as anything was said."""
        async with aclosing(self._batches):
            self.events += await anext(self._batches)
        return self

    async def until_step(self, at: int) -> "Run":
        """Leaves once this step is over."""
        async with aclosing(self._batches):
            async for batch in self._batches:
                self.events += batch
                if any(isinstance(e, Progress) and e.what == "step" and e.at >= at for e in batch):
                    break
        return self

    @property
    def images(self) -> list[Image]:
        return [event for event in self.events if isinstance(event, Image)]

    @property
    def steps(self) -> list[Progress]:
        return [e for e in self.events if isinstance(e, Progress) and e.what == "step"]

    def file(self, n: int = 0) -> bytes:
        return self.album.kept[self.images[n].blob.sha256]

    def picture(self, n: int = 0) -> Picture.Image:
        return opened(self.file(n))

    def pixels(self, n: int = 0) -> bytes:
        return self.picture(n).tobytes()


async def drawn(engine: Engine, request: Request, album: Scrapbook | None = None) -> Run:
    """A whole run, which ended well."""
    async with asyncio.timeout(100):
        run = await Run(engine, request, album).whole()
    assert isinstance(run.events[-1], Done)
    return run


def opened(data: bytes) -> Picture.Image:
    image = Picture.open(BytesIO(data))
    image.load()
    return image


def png(image: Picture.Image) -> bytes:
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def gradient(size: tuple[int, int] = (64, 64)) -> Picture.Image:
    """Something to start from."""
    return Picture.linear_gradient("L").resize(size).convert("RGB")


async def kept(album: Scrapbook, image: Picture.Image) -> ImagePart:
    """A picture as an engine gets it."""
    return ImagePart(blob=await album.keep(png(image), "image/png"))
