"""A key's place is its run's, however the run ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.unit.gateway.gateways import Scripted, gateway

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
