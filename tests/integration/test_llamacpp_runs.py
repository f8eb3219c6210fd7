"""The embedded engine: many runs at a time, waiting, and being cancelled."""

import asyncio
from contextlib import aclosing

import msgspec
import pytest
from tests.integration.embedded import (
    LONG,
    SHORT,
    answer,
    ask,
    counted,
    events,
    first_delta,
    idle,
    opened,
    running,
)

from penstock.core import events as ev
from penstock.core.errors import (
    OverloadedError,
    UnavailableError,
)
from penstock.core.folding import fold
from penstock.core.request import Sampling
from penstock.engines.llamacpp import Config
from penstock.gateway import choices


async def test_runs_decode_side_by_side() -> None:
    order: list[int] = []

    async def one(n: int) -> None:
        async with aclosing(opened(engine, LONG)) as stream:
            async for _ in stream:
                order.append(n)

    async with running(Config(parallel=4)) as engine, asyncio.TaskGroup() as group:
        for n in range(4):
            group.create_task(one(n))
    first, last = ({n: where(order, n) for n in range(4)} for where in (_first, _last))
    assert max(first.values()) < min(last.values())


def _first(order: list[int], n: int) -> int:
    return order.index(n)


def _last(order: list[int], n: int) -> int:
    return len(order) - 1 - order[::-1].index(n)


async def test_who_waits_is_told_the_place() -> None:
    async with running(Config(parallel=1, max_queue=2)) as engine:
        async with aclosing(opened(engine, LONG)) as busy:
            await first_delta(busy)
            second, third = opened(engine, SHORT), opened(engine, SHORT)
            assert await anext(second) == [ev.Progress(what="queued", at=1, of=1)]
            assert await anext(third) == [ev.Progress(what="queued", at=2, of=2)]
            with pytest.raises(OverloadedError) as caught:
                await events(engine, SHORT)
            assert caught.value.retry_after
            await second.aclose()  # cancelled while it waits
            assert await anext(third) == [ev.Progress(what="queued", at=1, of=1)]
        rest = [event async for batch in third for event in batch]
    assert rest[-1] == ev.Done(reason="length")
    assert not any(isinstance(event, ev.Progress) for event in rest)


async def test_cancelling_really_stops_the_decoding() -> None:
    async with running(Config(parallel=1)) as engine:
        stream = opened(engine, LONG)
        await first_delta(stream)
        await stream.aclose()
        await idle(engine)
        stopped_at = counted(engine, "n_decode_total")
        assert stopped_at < 900
        await answer(engine, SHORT)  # the only slot takes the next one
        assert counted(engine, "n_decode_total") - stopped_at < 50


async def test_cancelling_the_task_is_cancelling_the_run() -> None:
    begun = asyncio.Event()

    async def drive() -> None:
        async with aclosing(opened(engine, LONG)) as stream:
            async for batch in stream:
                if batch:
                    begun.set()

    async with running(Config(parallel=1)) as engine:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(drive())
            await begun.wait()
            task.cancel()
        await idle(engine)
        assert counted(engine, "n_decode_total") < 900


async def test_cancelling_within_the_prompt() -> None:
    """Eight batches long; nobody wants more than the first."""
    async with running(Config(parallel=1)) as engine:
        stream = opened(engine, ask("Tell me about streaming. " * 190))
        assert await anext(stream) == []  # accepted; not one token yet
        await stream.aclose()
        await idle(engine)
        assert (await answer(engine, SHORT)).reason == "length"
        assert counted(engine, "prompt_tokens_total") < 800


async def test_closing_the_engine_ends_what_runs_and_what_waits() -> None:
    async with running(Config(parallel=1)) as engine:
        busy, waiting = opened(engine, LONG), opened(engine, SHORT)
        await first_delta(busy)
        await anext(waiting)
        async with asyncio.TaskGroup() as group:
            group.create_task(engine.aclose())
            for stream in (busy, waiting):
                with pytest.raises(UnavailableError):
                    async for _ in stream:
                        pass


async def test_several_choices_are_so_many_runs_in_the_slots_that_there_are() -> None:
    request = msgspec.structs.replace(
        ask("Tell me a story", Sampling(temperature=1.2, seed=5, max_tokens=12)), choices=5
    )
    async with running(Config(parallel=2)) as engine:
        found = [event async for batch in choices.stream(engine, request) for event in batch]
        await idle(engine)
    folded = fold([ev.Entry(ev.Seq(n), 0, event) for n, event in enumerate(found, 1)])
    assert len(folded.choices) == 5
    assert [choice.reason for choice in folded.choices] == ["length"] * 5
    assert len({choice.text for choice in folded.choices}) > 1
    assert folded.usage is not None
    assert folded.usage.output_tokens == 60
    assert folded.usage.input_tokens < 60
    assert isinstance(found[-1], ev.Done)


async def test_closing_several_choices_gives_all_slots_back() -> None:
    request = msgspec.structs.replace(LONG, choices=3)
    async with running(Config(parallel=2)) as engine:
        stream = choices.stream(engine, request)
        async for batch in stream:
            if any(isinstance(event, ev.TextDelta) for event in batch):
                break
        await stream.aclose()
        await idle(engine)


async def test_more_choices_than_there_is_room_for_are_refused_before_anything() -> None:
    request = msgspec.structs.replace(LONG, choices=4)
    async with running(Config(parallel=1, max_queue=2)) as engine:
        with pytest.raises(OverloadedError):
            async for batch in choices.stream(engine, request):
                assert not any(isinstance(event, ev.TextDelta) for event in batch)
        await idle(engine)
