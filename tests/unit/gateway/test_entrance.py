"""A key's place is its run's, however the run ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.unit.gateway.gateways import Scripted, gateway

from penstock.config.schema import Config, Model, Streams
from penstock.core.errors import ForbiddenError, OverloadedError, UnknownModelError
from penstock.core.events import Event, StreamId
from penstock.core.messages import say
from penstock.core.principals import Principal
from penstock.core.request import Request

ASKED = Request(model="m", messages=(say("user", "hello"),), stream=True)
KEY = Principal(id="k", concurrent=1, dialects=("openai_*",))


async def _forever(_: Request) -> AsyncIterator[Sequence[Event]]:
    yield ()
    await asyncio.Event().wait()


async def test_a_cancelled_run_frees_its_place():
    async with gateway(Scripted(_forever)) as made:
        for _ in range(3):
            head = await made.submit(ASKED, "openai_chat", KEY)
            with pytest.raises(OverloadedError):
                await made.submit(ASKED, "openai_chat", KEY)
            # At once, before the run's first step, too.
            await made.cancel(StreamId(head.stream), KEY)
        await made.submit(ASKED, "openai_chat", KEY)


async def test_a_request_that_never_ran_frees_its_place():
    async with gateway(Scripted(_forever)) as made:
        for _ in range(3):
            with pytest.raises(UnknownModelError):
                await made.submit(Request(model="other"), "openai_chat", KEY)
        await made.submit(ASKED, "openai_chat", KEY)


async def test_a_key_speaks_its_dialects_only():
    async with gateway(Scripted(_forever)) as made:
        with pytest.raises(ForbiddenError, match="'lollms'"):
            await made.submit(ASKED, "lollms", KEY)


async def test_a_name_that_nobody_has_opens_no_model_to_a_key():
    """`[models."*"]` answers for any name; what counts then is the model that answers."""
    config = Config(streams=Streams(log="memory"), models={"*": Model(binding="b0")})
    asked = Request(model="gpt-9", messages=ASKED.messages)
    async with gateway(Scripted(_forever), config=config) as made:
        with pytest.raises(ForbiddenError, match="model"):
            await made.submit(asked, "t", Principal(id="k", models=("gpt-*",)))
        for models in (("m",), ("gpt-*", "m"), ("*",), ()):
            await made.submit(asked, "t", Principal(id="k", models=models))
