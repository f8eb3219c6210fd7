"""What the next start makes of a journal whose process died, whatever bytes it left."""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.streams.journals import died, journal, records, said, segments, without_index

from penstock.core import events as ev
from penstock.core.events import Entry, Failed, Seq, StreamId
from penstock.streams.journal import inspect
from penstock.testing.streams import begin, read, text


def interrupted(entries: list[Entry]) -> bool:
    """Whether a stream ends, once, as interrupted."""
    ends = [n for n, e in enumerate(entries) if isinstance(e.event, ev.Failed | ev.Done)]
    last = entries[-1].event
    return ends == [len(entries) - 1] and isinstance(last, Failed) and last.code == "interrupted"


async def test_open_streams_are_closed_as_interrupted(tmp_path: Path):
    """With all their text readable, in every later start the same."""
    async with journal(tmp_path / "a") as log:
        await said(log, "open", ["one", "two"], end=False)
        await said(log, "whole", ["three"])
        begin(log, "opened")
        await log.settled(StreamId("opened"))
        live = await read_some(log, "open", 3)
        crashed = died(tmp_path / "a", tmp_path / "b")
    entries: list[Entry] = []
    for _ in range(3):
        async with journal(crashed) as log:
            entries = await read(log, "open")
            assert entries[:3] == live
            assert len(entries) == 4
            assert interrupted(entries)
            assert interrupted(await read(log, "opened"))
            states = {info.stream: info.state for info in await log.recent(None, 9)}
            assert states == {"open": "interrupted", "opened": "interrupted", "whole": "done"}
            assert await read(log, "open", 3) == entries[3:]
            assert await read(log, "open", 9) == []
            assert log.status().live == 0
    async with journal(without_index(crashed)) as log:
        assert await read(log, "open") == entries


async def read_some(log: object, stream: str, count: int) -> list[Entry]:
    found: list[Entry] = []
    reader = log.reader(StreamId(stream), Seq(0))  # type: ignore[attr-defined]
    while len(found) < count:
        found += await reader.take()
    return found


async def test_a_stream_that_has_only_its_head(tmp_path: Path):
    """It gets a `Start` of its own, so that every stream has one."""
    async with journal(tmp_path / "a") as log:
        begin(log, "s")
        await log.settled(StreamId("s"))
        crashed = died(tmp_path / "a", tmp_path / "b")
    (segment,) = segments(crashed)
    segment.write_bytes(segment.read_bytes()[: records(segment)[1].offset])
    async with journal(without_index(crashed)) as log:
        entries = await read(log, "s")
        assert isinstance(entries[0].event, ev.Start)
        assert interrupted(entries)
        assert len(entries) == 2


async def test_torn_at_every_byte_of_the_last_record(tmp_path: Path):
    """Nothing before it is lost, nothing of it is shown, and the rest is cut off."""
    async with journal(tmp_path / "a") as log:
        await said(log, "s", ["one", "two", "the last one"], end=False)
        await log._indexing.flush()
        crashed = died(tmp_path / "a", tmp_path / "b")
    (segment,) = segments(crashed)
    data = segment.read_bytes()
    last = records(segment)[-1]
    for cut in range(last.offset, len(data)):
        folder = died(crashed, tmp_path / "c")
        segments(folder)[0].write_bytes(data[:cut])
        async with journal(folder) as log:
            entries = await read(log, "s")
            assert [e.seq for e in entries] == [1, 2, 3, 4]
            assert interrupted(entries)
        assert segments(folder)[0].stat().st_size == last.offset


async def test_a_damaged_record_in_the_middle(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """The streams it belongs to end before it; later records of others are all there."""
    async with journal(tmp_path) as log:
        await said(log, "hurt", ["one", "two", "three"])
        await said(log, "fine", ["four"])
    (segment,) = segments(tmp_path)
    data = bytearray(segment.read_bytes())
    hurt = records(segment)[3]
    data[hurt.payload + 3] ^= 1
    segment.write_bytes(data)
    async with journal(without_index(tmp_path)) as log:
        entries = await read(log, "hurt")
        assert [e.seq for e in entries] == [1, 2, 3]
        assert interrupted(entries)
        assert len(await read(log, "fine")) == 3
        assert await read(log, "hurt", 4) == []
    assert "damaged bytes" in caplog.text
    assert segment.stat().st_size == len(data)


async def test_zeros_as_a_power_cut_leaves_them(tmp_path: Path):
    async with journal(tmp_path / "a") as log:
        await said(log, "s", ["one"], end=False)
        crashed = died(tmp_path / "a", tmp_path / "b")
    with segments(crashed)[0].open("ab") as file:
        file.write(bytes(10_000))
    async with journal(crashed) as log:
        assert interrupted(await read(log, "s"))


async def test_an_index_that_is_behind(tmp_path: Path):
    """Only what it does not know is scanned, and nothing twice."""
    async with journal(tmp_path / "a") as log:
        await said(log, "s0", ["x"])
        await log._indexing.flush()
        old = died(tmp_path / "a", tmp_path / "old")
        await said(log, "s1", ["y"])
        begin(log, "s2")
        await log.settled(StreamId("s2"))
        crashed = died(tmp_path / "a", tmp_path / "b")
    for path in old.glob("index*"):
        shutil.copy(path, crashed / path.name)
    for path in crashed.glob("index.sqlite-*"):
        if not (old / path.name).exists():
            path.unlink()
    async with journal(crashed) as log:
        states = {info.stream: info.state for info in await log.recent(None, 9)}
        assert states == {"s0": "done", "s1": "done", "s2": "interrupted"}
        assert [len(await read(log, name)) for name in ("s0", "s1", "s2")] == [3, 3, 2]
    assert inspect(crashed).unindexed == 0


async def test_an_index_without_its_segments(tmp_path: Path):
    """Streams whose segments somebody deleted are unknown, not endless."""
    async with journal(tmp_path / "a") as log:
        begin(log, "s")
        await log.settled(StreamId("s"))
        await log._indexing.flush()
        crashed = died(tmp_path / "a", tmp_path / "b")
    segments(crashed)[0].unlink()
    async with journal(crashed) as log:
        assert await log.recent(None, 9) == []


async def test_a_crash_during_recovery_changes_nothing(tmp_path: Path):
    """Closed in our segment, our index lost: the next start finds the same streams."""
    async with journal(tmp_path / "a") as log:
        await said(log, "s", ["one"], end=False)
        crashed = died(tmp_path / "a", tmp_path / "b")
    async with journal(crashed) as log:
        entries = await read(log, "s")
        again = without_index(died(crashed, tmp_path / "c"))
    async with journal(again) as log:
        assert await read(log, "s") == entries


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
async def test_any_damage_leaves_gapless_prefixes(tmp_path_factory: object, data: st.DataObject):
    """Any truncation and any changed bytes: each stream is a prefix that ends exactly once."""
    base = tmp_path_factory.mktemp("any")  # type: ignore[attr-defined]
    async with journal(base / "a") as log:
        names = ["s0", "s1", "s2"]
        for name in names:
            begin(log, name)
        for n in range(6):
            for name in names:
                log.append(StreamId(name), [text(f"{name}.{n}"), text("b")][: 1 + n % 2])
        log.append(StreamId("s0"), [ev.Done(reason="stop")])
        await log.settled(StreamId("s0"))
        crashed = without_index(died(base / "a", base / "b"))
        before = {}
        for name in names:
            reader = log.reader(StreamId(name), Seq(0))
            before[name] = [e.event for e in await reader.take()]
    (segment,) = segments(crashed)
    content = bytearray(segment.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    segment.write_bytes(content[:cut])
    async with journal(crashed) as log:
        for info in await log.recent(None, 9):
            entries = await read(log, info.stream)
            assert [e.seq for e in entries] == list(range(1, len(entries) + 1))
            events = [e.event for e in entries]
            if interrupted(entries):
                events = events[:-1]
            produced = before[info.stream]
            assert events == produced[: len(events)] or len(entries) == 2
            assert isinstance(entries[-1].event, ev.Done | Failed)
            assert info.events == len(entries)
    shutil.rmtree(base)
