"""A reader that is given what comes within the turn that logs it: nothing lost, nothing twice."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.unit.streams.journals import journal

from penstock.config.schema import Streams
from penstock.core import events as ev
from penstock.core.events import Entry, Seq, StreamId
from penstock.core.ports import Reader
from penstock.streams.journal import Log
from penstock.testing.streams import begin, read, take, text

S = StreamId("s")


class Sink:
    """Takes batches; stops after as many as it is told, or raises."""

    def __init__(self, most: int = 1000, error: Exception | None = None) -> None:
        self.got: list[Entry] = []
        self.most = most
        self.error = error

    def __call__(self, entries: Sequence[Entry]) -> bool:
        if self.error is not None:
            raise self.error
        self.got += entries
        self.most -= 1
        return self.most > 0

    @property
    def seqs(self) -> list[int]:
        return [entry.seq for entry in self.got]


async def at_the_end(log: Log) -> Reader:
    reader = log.reader(S, Seq(0))
    assert [entry.seq for entry in await take(reader)] == [1]
    return reader


@pytest.mark.parametrize("sync", ["interval", "always"])
async def test_batches_are_given_as_they_are_logged_and_the_end_ends_it(tmp_path: Path, sync: str):
    settings = Streams(sync=sync)  # type: ignore[arg-type]
    async with journal(tmp_path, settings) as log, asyncio.timeout(10):
        begin(log, "s")
        reader, sink = await at_the_end(log), Sink()
        async with asyncio.TaskGroup() as group:
            flowing = group.create_task(reader.flow(sink))
            for n in range(20):
                await asyncio.sleep(0)
                log.append(S, [text(f"{n}"), text("x")])
            await log.settled(S)
            assert sink.seqs == list(range(2, 42))
            assert not flowing.done()
            log.append(S, [ev.Done(reason="stop")])
        assert sink.seqs == list(range(2, 43))
        assert await take(reader) == ()


async def test_one_that_has_enough_goes_on_with_take(tmp_path: Path):
    async with journal(tmp_path) as log, asyncio.timeout(10):
        begin(log, "s")
        reader, sink = await at_the_end(log), Sink(most=2)
        async with asyncio.TaskGroup() as group:
            group.create_task(reader.flow(sink))
            await asyncio.sleep(0)
            for n in range(5):
                log.append(S, [text(f"{n}")])
                await log.settled(S)
        assert sink.seqs == [2, 3]
        assert [entry.seq for entry in await take(reader)] == [4, 5, 6]
        again = Sink()
        async with asyncio.TaskGroup() as group:
            group.create_task(reader.flow(again))
            await asyncio.sleep(0)
            log.append(S, [ev.Done(reason="stop")])
        assert again.seqs == [7]


async def test_others_beside_it_get_the_same(tmp_path: Path):
    async with journal(tmp_path) as log, asyncio.timeout(10):
        begin(log, "s")
        reader, sink, other = await at_the_end(log), Sink(), log.reader(S, Seq(0))
        async with asyncio.TaskGroup() as group:
            flowing = group.create_task(reader.flow(sink))
            second = group.create_task(read(log, "s"))
            for n in range(300):
                log.append(S, [text(f"{n}")])
                if n % 7 == 0:
                    await log.settled(S)
            log.append(S, [ev.Done(reason="stop")])
        assert flowing.done()
        late = [entry.seq for entry in await take(other)]
        assert late == list(range(1, len(late) + 1))
        assert [entry.seq for entry in second.result()] == list(range(1, 303))
        assert sink.seqs == list(range(2, 303))


async def test_its_error_is_its_own(tmp_path: Path):
    async with journal(tmp_path) as log, asyncio.timeout(10):
        begin(log, "s")
        reader, fine = await at_the_end(log), Sink()
        beside = await at_the_end(log)

        async def breaks() -> None:
            with pytest.raises(ZeroDivisionError):
                await reader.flow(Sink(error=ZeroDivisionError()))

        async with asyncio.TaskGroup() as group:
            broken = group.create_task(breaks())
            group.create_task(beside.flow(fine))
            await asyncio.sleep(0)
            log.append(S, [text("a")])
            await broken
            log.append(S, [ev.Done(reason="stop")])
    assert fine.seqs == [2, 3]


async def test_who_is_behind_or_leaves_is_given_nothing(tmp_path: Path):
    async with journal(tmp_path) as log, asyncio.timeout(10):
        begin(log, "s")
        log.append(S, [text("a")])
        await log.settled(S)
        behind, sink = log.reader(S, Seq(0)), Sink()
        await behind.flow(sink)
        assert sink.got == []
        assert [entry.seq for entry in await take(behind)] == [1, 2]
        async with asyncio.TaskGroup() as group:
            flowing = group.create_task(behind.flow(sink))
            await asyncio.sleep(0)
            flowing.cancel()
        log.append(S, [text("b")])
        await log.settled(S)
        assert sink.got == []
        assert [entry.seq for entry in await take(behind)] == [3]
        async with asyncio.TaskGroup() as group:
            group.create_task(behind.flow(sink))
            await asyncio.sleep(0)
            behind.close()
        assert await take(behind) == ()
