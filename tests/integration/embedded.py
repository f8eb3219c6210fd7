"""The embedded engine and the demo model, for tests."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import cast

from penstock.core import events as ev
from penstock.core import ports
from penstock.core.folding import ChoiceReply, Reply, fold
from penstock.core.messages import say
from penstock.core.ports import Timeouts
from penstock.core.request import (
    Request,
    Sampling,
    ToolSpec,
)
from penstock.engines._llama_server import LlamaServer
from penstock.engines._llama_shelf import Model
from penstock.engines.llamacpp import Config, Engine
from penstock.wire import json

DEMO = Path(__file__).parents[2] / "src" / "penstock" / "models" / "penstock-demo.gguf"
GREEDY = Sampling(temperature=0, seed=1)
# The demo model's ends of text: without them it goes on until its context is full.
ENDLESS = Sampling(temperature=1, seed=3, logit_bias={"0": -100, "1": -100, "2": -100})
WEATHER = ToolSpec(
    name="get_weather",
    description="Get the weather in a city",
    parameters=json.raw(
        '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'
    ),
)


def ask(text: str, sampling: Sampling = GREEDY) -> Request:
    return Request(messages=(say("user", text),), sampling=sampling)


LONG = ask("Tell me a very long story about a dragon", ENDLESS)
SHORT = ask("Hello!", Sampling(temperature=0, max_tokens=1))


@asynccontextmanager
async def running(
    config: Config | None = None, timeouts: Timeouts | None = None
) -> AsyncIterator[Engine]:
    engine = Engine(config or Config(), timeouts or Timeouts())
    try:
        await engine.start()
        yield engine
    finally:
        await engine.aclose()


def opened(engine: ports.Engine, request: Request) -> AsyncGenerator[Sequence[ev.Event]]:
    return cast("AsyncGenerator[Sequence[ev.Event]]", engine.stream(request))


async def batches(engine: ports.Engine, request: Request) -> list[Sequence[ev.Event]]:
    async with aclosing(opened(engine, request)) as stream:
        return [batch async for batch in stream]


async def events(engine: ports.Engine, request: Request) -> list[ev.Event]:
    return [event for batch in await batches(engine, request) for event in batch]


async def reply(engine: ports.Engine, request: Request) -> Reply:
    found = await events(engine, request)
    return fold([ev.Entry(ev.Seq(n), 0, event) for n, event in enumerate(found, 1)])


async def answer(engine: Engine, request: Request) -> ChoiceReply:
    return (await reply(engine, request)).first


async def first_delta(stream: AsyncGenerator[Sequence[ev.Event]]) -> None:
    async for batch in stream:
        if any(isinstance(event, ev.TextDelta) for event in batch):
            return


def model(engine: Engine, name: str = "penstock-demo") -> Model:
    assert engine._shelf is not None
    return engine._shelf.models[name]


def server(engine: Engine) -> LlamaServer:
    found = model(engine).server
    assert found is not None
    return found


def counted(engine: Engine, name: str) -> int:
    """One of llama.cpp's own counters."""
    found = re.search(rf"^llamacpp:{name} (\d+)", server(engine).metrics(), re.MULTILINE)
    assert found is not None
    return int(found[1])


async def idle(engine: Engine) -> None:
    async with asyncio.timeout(10):
        while not model(engine).slots.idle:
            await asyncio.sleep(0.001)
