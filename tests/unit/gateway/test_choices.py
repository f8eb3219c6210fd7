"""Several choices of an engine that makes one: so many runs, one stream."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.unit.gateway.gateways import Scripted, ask, events, gateway, read, submit

from penstock.core.errors import EngineError, OverloadedError
from penstock.core.events import (
    Done,
    Event,
    Failed,
    Finish,
    Progress,
    ReasoningDelta,
    StreamId,
    TextDelta,
    Timings,
    ToolCallDelta,
    Usage,
)
from penstock.core.principals import LOCAL
from penstock.core.request import Request, Sampling
from penstock.gateway import choices

Batches = AsyncIterator[Sequence[Event]]
USAGE = Usage(
    input_tokens=7,
    output_tokens=3,
    reasoning_tokens=1,
    cached_tokens=2,
    timings=Timings(load=5, prompt=10, generation=100),
)


class Seeded(Scripted):
    """Takes a seed, which tells the runs apart."""

    supports = frozenset({"seed"})


def text(words: str) -> TextDelta:
    return TextDelta(part=1, text=words)


def numbered(request: Request) -> int:
    assert request.sampling.seed is not None
    return request.sampling.seed - 100


async def several(request: Request) -> Batches:
    """Each run's text names its own seed; the later ones are quicker."""
    n = numbered(request)
    yield ()
    await asyncio.sleep(0.01 * (3 - n))
    yield [ReasoningDelta(part=0, text="hm"), text(f"answer {n}")]
    yield [ToolCallDelta(part=2, call="c", name="f", arguments="{}")]
    yield [USAGE, Done(reason="length" if n == 1 else "stop")]


def asked(n: int, seed: int | None = 100) -> Request:
    return ask(choices=n, sampling=Sampling(seed=seed))


async def played(engine: Scripted, request: Request) -> list[Event]:
    async with asyncio.timeout(10):
        stream = choices.stream(engine, request)  # type: ignore[arg-type]
        return [event async for batch in stream for event in batch]


async def test_one_stream_with_every_choice_in_its_order():
    engine = Seeded(several)
    found = await played(engine, asked(3))
    for n in range(3):
        own = [e for e in found if getattr(e, "choice", None) == n]
        at = n * 1024
        assert own == [
            ReasoningDelta(part=at, text="hm", choice=n),
            TextDelta(part=at + 1, text=f"answer {n}", choice=n),
            ToolCallDelta(part=at + 2, call="c", name="f", arguments="{}", choice=n),
            Finish(choice=n, reason="length" if n == 1 else "stop"),
        ]
    assert found[-1] == Done(reason="stop")
    assert [request.choices for request in engine.asked] == [1, 1, 1]


async def test_the_prompt_is_counted_once_and_the_answers_all():
    found = await played(Seeded(several), asked(3))
    assert [event for event in found if isinstance(event, Usage)] == [
        Usage(
            input_tokens=7,
            output_tokens=9,
            reasoning_tokens=3,
            cached_tokens=2,
            timings=Timings(load=5, prompt=10, generation=300),
        )
    ]


async def test_no_seed_stays_none():
    async def plain(_request: Request) -> Batches:
        yield [Done(reason="stop")]

    engine = Seeded(plain)
    found = await played(engine, asked(2, None))
    assert [request.sampling.seed for request in engine.asked] == [None, None]
    assert found[-1] == Done(reason="stop")
    assert not any(isinstance(event, Usage) for event in found)


async def test_one_choice_and_an_engine_that_makes_several_are_left_alone():
    engine = Seeded(several)
    await played(engine, asked(1))
    engine.supports = frozenset({"choices"})
    await played(engine, asked(2))
    assert [request.choices for request in engine.asked] == [1, 2]


async def test_as_many_as_there_can_be_never_fill_an_engines_line():
    live: list[int] = []
    most = 0

    async def counted(request: Request) -> Batches:
        nonlocal most
        live.append(numbered(request))
        most = max(most, len(live))
        yield [text("a")]
        live.remove(numbered(request))
        yield [Done(reason="stop")]

    found = await played(Seeded(counted), asked(choices.MOST))
    assert {e.choice for e in found if isinstance(e, Finish)} == set(range(choices.MOST))
    assert found[-1] == Done(reason="stop")
    assert 4 < most <= 16


async def test_batches_stay_batches_and_those_of_one_turn_are_one():
    async def quick(_request: Request) -> Batches:
        yield [text("a"), text("b")]
        yield [Done(reason="stop")]

    stream = choices.stream(Seeded(quick), asked(3))  # type: ignore[arg-type]
    batches = [batch async for batch in stream]
    assert [len(batch) for batch in batches] == [6, 4]


@pytest.mark.parametrize("way", ["raised", "said", "unsaid", "bug"])
async def test_the_first_failure_is_everybodys_end(way: str):
    closed = 0

    async def broken(request: Request) -> Batches:
        nonlocal closed
        try:
            yield [text("x")]
            if numbered(request) == 1:
                await asyncio.sleep(0.01)
                if way == "raised":
                    raise EngineError("gone")
                if way == "bug":
                    raise ZeroDivisionError
                if way == "said":
                    yield [Failed(code="engine_failed", message="gone")]
                return
            await asyncio.Event().wait()
        finally:
            closed += 1

    async with gateway(Seeded(broken)) as made:
        found = events(await read(made, await submit(made, asked(3))))
    last = found[-1]
    assert isinstance(last, Failed)
    assert (
        last.code
        == {
            "raised": "engine_failed",
            "said": "engine_failed",
            "unsaid": "engine_protocol",
            "bug": "internal_error",
        }[way]
    )
    assert closed == 3


async def test_a_refusal_before_anything_is_the_streams_only_word():
    async def full(request: Request) -> Batches:
        if numbered(request) == 2:
            raise OverloadedError("no room")
        yield ()
        yield [Done(reason="stop")]

    async with gateway(Seeded(full)) as made:
        _, last = events(await read(made, await submit(made, asked(3))))
    assert isinstance(last, Failed)
    assert last.code == "overloaded"


async def test_cancelling_closes_all_of_them():
    live = 0

    async def endless(_request: Request) -> Batches:
        nonlocal live
        live += 1
        try:
            while True:
                yield [text("more ")]
                await asyncio.sleep(0.001)
        finally:
            live -= 1

    async with gateway(Seeded(endless)) as made:
        head = await submit(made, asked(4))
        watch = made.watch(StreamId(head.stream), 0)  # type: ignore[arg-type]
        await watch.take()
        await watch.take()
        assert live == 4
        assert await made.cancel(StreamId(head.stream), LOCAL)
        assert live == 0
        watch.close()
        assert events(await read(made, head))[-1] == Done(reason="cancelled")


async def test_closing_between_two_batches_closes_all_of_them():
    live = 0

    async def endless(_request: Request) -> Batches:
        nonlocal live
        live += 1
        try:
            while True:
                yield [text("more ")]
        finally:
            live -= 1

    stream = choices.stream(Seeded(endless), asked(4))  # type: ignore[arg-type]
    assert await anext(stream)
    assert live == 4
    before = len(asyncio.all_tasks())
    await stream.aclose()
    assert live == 0
    assert len(asyncio.all_tasks()) == before - 8


async def test_no_choice_is_ahead_of_its_reader_by_more_than_one():
    said = [0, 0]

    async def eager(request: Request) -> Batches:
        n = numbered(request)
        for _ in range(50):
            said[n] += 1
            yield [text("x")]
        yield [Done(reason="stop")]

    stream = choices.stream(Seeded(eager), asked(2))  # type: ignore[arg-type]
    taken = [0, 0]
    async for batch in stream:
        for event in batch:
            if isinstance(event, TextDelta):
                taken[event.choice] += 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert said[0] - taken[0] <= 1
        assert said[1] - taken[1] <= 1
    assert taken == [50, 50]


async def test_progress_is_told_by_one_of_them():
    async def waiting(_request: Request) -> Batches:
        yield [Progress(what="queued", at=1, of=2)]
        yield [Done(reason="stop")]

    found = await played(Seeded(waiting), asked(3))
    assert len([event for event in found if isinstance(event, Progress)]) == 1


async def test_what_leaves_nothing_to_read_holds_nobody_up():
    """A choice that only waits in line goes on while the others have nothing to say."""

    async def waiting(request: Request) -> Batches:
        if numbered(request) == 1:
            for place in (3, 2, 1):
                yield [Progress(what="queued", at=place)]
                yield [USAGE]
        yield [Done(reason="stop")]

    found = await played(Seeded(waiting), asked(2))
    assert found[-1] == Done(reason="stop")
