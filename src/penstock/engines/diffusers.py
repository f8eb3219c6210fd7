"""Pictures by diffusers, in a process of its own beside this one. Imports no torch."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from penstock.core.cards import ModelCard
from penstock.core.errors import (
    ConfigError,
    ModalityError,
    UnavailableError,
    UnknownModelError,
)
from penstock.core.events import Event, Progress
from penstock.core.ports import Album, Timeouts
from penstock.core.request import ImageAsk, Modality, Request
from penstock.engines import _diffusers_ask, _diffusers_folder
from penstock.engines._diffusers_config import Config as Config
from penstock.engines._diffusers_folder import Pipeline
from penstock.engines._diffusers_messages import Draw, Facts, Open
from penstock.engines._diffusers_process import Process, check_installed
from penstock.engines._diffusers_telling import Telling
from penstock.engines._slots import Slots, Ticket

_DEMO: Final = Path(__file__).parent.parent / "models" / "penstock-demo-image"
_DEMO_STEPS: Final = 25
_DEMO_GUIDANCE: Final = 3.0
_SMALL: Final = 100_000_000
_BEAT: Final = 20.0
"""Seconds after which one who waits is told his place again: a queue is no silence."""


class Engine:
    """Draws with a pipeline of diffusers: `core.ports.Engine` and `core.ports.Painter`."""

    description: ClassVar[str] = "Pictures by diffusers, in a process beside the gateway"
    outputs: ClassVar[tuple[Modality, ...]] = ("image",)

    def __init__(self, config: Config, timeouts: Timeouts) -> None:
        self._config = config if config.path else _as_judged(config)
        self._slots = Slots(1, config.max_queue, lambda: None)
        self._process = Process(timeouts.between_tokens, download=config.allow_download)
        self._starting = asyncio.Lock()
        self._pipelines: dict[str, Pipeline] = {}
        self._default = ""
        self._facts: dict[str, Facts] = {}
        self._closed = False

    @property
    def supports(self) -> frozenset[str]:
        """Of the default model, once it has been loaded; until then, what any model may honour."""
        facts = self._facts.get(self._default)
        return _diffusers_ask.supports(facts) if facts else _diffusers_ask.EVERYTHING

    async def start(self) -> None:
        """Looks at the folders and loads the default model, unless it is to be on first use.

        Raises `ConfigError` whose `param` is the setting that is wrong, `EngineError` when memory
        was short.
        """
        await self._look()
        if self._config.load == "start" and self._slots.idle:
            ticket = self._slots.enter()
            try:
                async with aclosing(self._ready(self._pipelines[self._default])) as progress:
                    async for _ in progress:
                        continue
            finally:
                ticket.leave()

    async def _look(self) -> None:
        async with self._starting:
            if self._pipelines:
                return
            check_installed()
            config = self._config
            found = await asyncio.to_thread(_diffusers_folder.find, config.path or str(_DEMO))
            if config.model is not None and config.model not in found:
                raise ConfigError(
                    f"there is no model {config.model!r}; there are: {', '.join(found)}",
                    param="model",
                )
            self._default = config.model or next(iter(found))
            self._pipelines = found

    async def stream(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        """Raises `ModalityError`: it makes nothing but pictures."""
        raise ModalityError("this binding makes pictures and says nothing")
        yield ()

    async def paint(self, request: Request, album: Album) -> AsyncIterator[Sequence[Event]]:
        """Runs a request for pictures. Closing stops it after the step that it is in.

        What a model can't do is refused before the run waits for its turn, if the model has ever
        been loaded here.
        """
        self._check_open()
        await self._look()
        pipeline = self._find(request.model)
        request = msgspec.structs.replace(request, model=pipeline.name)
        job = self._process.begin()
        facts = self._facts.get(pipeline.name)
        draw = _diffusers_ask.draw(request, facts, self._config, job) if facts else None
        ticket = self._slots.enter()
        try:
            if draw is not None:
                yield []
            while (place := ticket.place) > 0:
                yield [Progress(what="queued", at=place, of=self._slots.waiting)]
                await _moved(ticket, place)
            begun, load = time.perf_counter_ns(), 0
            async with aclosing(self._ready(pipeline)) as progress:
                async for said in progress:
                    yield [said]
                    load = time.perf_counter_ns() - begun
            facts = self._facts[pipeline.name]
            draw = draw or _diffusers_ask.draw(request, facts, self._config, job)
            draw = await _with_inputs(draw, request, album)
            async with aclosing(self._drawn(draw, Telling(draw, album, load))) as batches:
                async for batch in batches:
                    yield batch
        finally:
            ticket.leave()

    async def _drawn(self, draw: Draw, telling: Telling) -> AsyncGenerator[list[Event]]:
        self._check_open()
        self._process.draw(draw)
        try:
            while not telling.ended:
                yield await telling.events(await self._process.reports(draw.job))
        finally:
            self._process.stop(draw.job)

    async def _ready(self, pipeline: Pipeline) -> AsyncGenerator[Progress]:
        """Until the process has let go of the run before, and this pipeline is loaded in it."""
        while not await self._process.settled(_BEAT):
            yield Progress(
                what="queued", at=1, of=1, text="the process ends what it was asked before"
            )
        self._check_open()
        ask = self._open(pipeline)
        if not self._process.holds(ask):
            async with aclosing(self._process.opened(ask)) as loading:
                async for _ in loading:
                    yield Progress(what="loading", text=pipeline.name)
        facts = self._process.facts
        assert facts is not None
        _diffusers_ask.check_settings(self._config, facts)
        self._facts[pipeline.name] = facts

    def _open(self, pipeline: Pipeline) -> Open:
        config = self._config
        return Open(
            source=pipeline.source,
            device=config.device,
            dtype=config.dtype,
            variant=config.variant,
            offload=config.offload,
            threads=config.threads or _few(pipeline),
            download=config.allow_download,
        )

    def _find(self, name: str) -> Pipeline:
        found = self._pipelines.get(name or self._default)
        if found is None:
            raise UnknownModelError(f"there is no model {name!r} here", param="model")
        return found

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("the engine is closed")

    async def models(self) -> Sequence[ModelCard]:
        """Every pipeline at the path."""
        self._check_open()
        await self._look()
        return [pipeline.card for pipeline in self._pipelines.values()]

    async def aclose(self) -> None:
        """Ends the process, whatever it computes."""
        self._closed = True
        await self._process.aclose()


def _as_judged(config: Config) -> Config:
    """The demo model draws best as it was judged on its held-out captions."""
    guidance = _DEMO_GUIDANCE if config.guidance_scale is None else config.guidance_scale
    steps = config.steps or _DEMO_STEPS
    return msgspec.structs.replace(config, steps=steps, guidance_scale=guidance)


def _few(pipeline: Pipeline) -> int | None:
    """A second thread waits longer for the first than a small model computes."""
    return 1 if (pipeline.card.size or _SMALL) < _SMALL else None


async def _moved(ticket: Ticket, place: int) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_BEAT):
            await ticket.moved(place)


async def _with_inputs(draw: Draw, request: Request, album: Album) -> Draw:
    asked = request.image or ImageAsk()
    blobs = [part.blob for part in asked.inputs]
    if not blobs or blobs[0] is None:
        return draw
    picture = await album.get(blobs[0])
    masked = asked.mask.blob if asked.mask is not None else None
    mask = await album.get(masked) if masked is not None else b""
    return msgspec.structs.replace(draw, picture=picture, mask=mask)
