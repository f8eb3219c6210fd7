"""What a lost reader means."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Literal

import pytest
from tests.unit.gateway.gateways import Scripted, ask, events, gateway, read

from penstock.config.schema import Config, Streams
from penstock.core.events import BEGINNING, Done, Entry, Event, Seq, StreamId, TextDelta
from penstock.core.principals import LOCAL
from penstock.core.request import Request


async def twenty(_request: Request) -> AsyncIterator[Sequence[Event]]:
    for _ in range(20):
        yield [TextDelta(part=1, text="x")]
        await asyncio.sleep(0.01)
    yield [Done(reason="stop")]


def settings(policy: Literal["cancel", "finish", "linger"], seconds: float = 60) -> Config:
    return Config(streams=Streams(log="memory", on_disconnect=policy, linger_seconds=seconds))


@pytest.mark.parametrize(
    ("policy", "seconds", "reason"),
    [("cancel", 60, "cancelled"), ("finish", 60, "stop"), ("linger", 0.02, "cancelled")],
)
async def test_the_last_readers_loss(
    policy: Literal["cancel", "finish", "linger"], seconds: float, reason: str
):
    async with gateway(Scripted(twenty), config=settings(policy, seconds)) as made:
        head = await made.submit(ask(), "test", LOCAL)
        watch = made.watch(StreamId(head.stream), BEGINNING)
        await watch.take()
        assert made.metrics.readers == 1
        watch.lost()
        watch.lost()
        assert made.metrics.readers == 0
        await asyncio.sleep(0.5)
        assert events(await read(made, head))[-1] == Done(reason=reason)  # type: ignore[arg-type]


async def test_who_lingers_waits_for_a_reader_to_come_back():
    async with gateway(Scripted(twenty), config=settings("linger", 0.1)) as made:
        head = await made.submit(ask(), "test", LOCAL)
        watch = made.watch(StreamId(head.stream), BEGINNING)
        await watch.take()
        watch.lost()
        await asyncio.sleep(0.03)
        assert events(await read(made, head))[-1] == Done(reason="stop")


async def test_one_lost_reader_of_two_means_nothing():
    async with gateway(Scripted(twenty), config=settings("cancel")) as made:
        head = await made.submit(ask(), "test", LOCAL)
        one = made.watch(StreamId(head.stream), BEGINNING)
        two = made.watch(StreamId(head.stream), BEGINNING)
        await one.take()
        one.lost()
        found: list[Entry] = []
        while batch := await two.take():
            found.extend(batch)
        two.close()
        assert events(found)[-1] == Done(reason="stop")


async def test_a_whole_answer_is_cancelled_when_nobody_waits_for_it():
    async with gateway(Scripted(twenty), config=settings("finish")) as made:
        head = await made.submit(ask(stream=False), "test", LOCAL)
        assert head.on_disconnect == "cancel"
        chosen = await made.submit(ask(stream=False), "test", LOCAL, "finish")
        assert chosen.on_disconnect == "finish"


async def test_nothing_is_left_behind():
    async with gateway(Scripted(twenty)) as made:
        heads = [await made.submit(ask(), "test", LOCAL) for _ in range(5)]
        for head in heads:
            await read(made, head)
        await asyncio.sleep(0.05)
        counted = made.metrics
        assert (counted.runs, counted.waiting, counted.readers) == (0, 0, 0)
        assert made._runs == {}


async def test_who_has_more_than_the_log_is_told_how_it_ended():
    async with gateway(Scripted(twenty), config=settings("finish")) as made:
        head = await made.submit(ask(), "test", LOCAL)
        whole = await read(made, head)
        stream, last = StreamId(head.stream), len(whole)
        for after, told in ((last - 1, whole[-1:]), (last, []), (last + 5, [Done(reason="stop")])):
            watch = made.watch(stream, Seq(after))
            found = list(await watch.take())
            if after > last:
                assert [(entry.seq, entry.event) for entry in found] == [(after + 1, told[0])]
            else:
                assert found == told
            assert await watch.take() == ()
            watch.close()
            assert await watch.take() == ()
