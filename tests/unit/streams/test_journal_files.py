"""What lies in a journal's folder: modes, rolling, erasing, forgetting, the index."""

import asyncio
import sqlite3
import stat
from pathlib import Path

import msgspec
import pytest
from tests.unit.streams.journals import (
    died,
    everything,
    journal,
    records,
    said,
    segments,
    without_index,
)

from penstock.config.schema import Streams
from penstock.core import events as ev
from penstock.core.errors import ConfigError, LogFullError, LogUnavailableError, UnknownStreamError
from penstock.core.events import Seq, StreamId
from penstock.core.messages import ImagePart, Message
from penstock.core.ports import StreamInfo
from penstock.core.request import Request
from penstock.streams.journal import inspect, inspect_heads, open_log, rebuild_index
from penstock.testing.streams import begin, clock, head, read, start, text

SMALL = Streams(segment_bytes=64 * 1024)


async def test_files_are_private(tmp_path: Path):
    folder = tmp_path / "new" / "streams"
    async with journal(folder) as log:
        await said(log, "s", ["x" * 100_000])
        found = {path: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
        found[folder] = stat.S_IMODE(folder.stat().st_mode)
    files = {path for path in found if path.is_file()}
    assert {found[path] for path in files} == {0o600}
    assert {found[path] for path in found if path.is_dir()} == {0o700}
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} >= {".seg", ".sqlite"}


async def test_a_stream_that_leaves_memory_while_the_index_is_asked_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with journal(tmp_path) as log:
        asked = log._archive.recent

        async def slowly(owner: str | None, limit: int) -> list[StreamInfo]:
            found = await asked(owner, limit)
            await log._indexing.flush()
            return found

        monkeypatch.setattr(log._archive, "recent", slowly)
        await said(log, "s", ["Once"])
        (info,) = await log.recent(None, 9)
        assert (info.stream, info.state) == ("s", "done")
        assert "s" not in log._live


async def test_one_turn_is_one_write(tmp_path: Path):
    """Records of all streams lie in the order in which they were handed over."""
    async with journal(tmp_path) as log:
        for name in ("a", "b"):
            begin(log, name)
        await log.settled(StreamId("b"))
        (segment,) = segments(tmp_path)
        assert [record.stream for record in records(segment)] == [b"a", b"a", b"b", b"b"]


async def test_rolling(tmp_path: Path):
    """Segments roll; a stream across many of them reads as one, live and afterwards."""
    pieces = [f"{n}:" + "x" * 5_000 for n in range(60)]
    async with journal(tmp_path, SMALL) as log:
        reader = log.reader(StreamId("s"), Seq(0))
        await said(log, "s", pieces, end=False)
        reader = log.reader(StreamId("s"), Seq(30))
        assert (await reader.take())[0].seq == 31
        log.append(StreamId("s"), [ev.Done(reason="stop")])
        assert len(segments(tmp_path)) == 1  # one turn is one write, however large
        for name in ("t", "u", "v"):
            for n in range(30):
                if n == 0:
                    begin(log, name)
                log.append(StreamId(name), [text("y" * 5_000)])
                await log.settled(StreamId(name))
            log.append(StreamId(name), [ev.Done(reason="stop")])
            await log.settled(StreamId(name))
        assert len(segments(tmp_path)) > 5
        live = [len(await read(log, name)) for name in "stuv"]
    async with journal(tmp_path, SMALL) as log:
        assert [len(await read(log, name)) for name in "stuv"] == live == [62, 32, 32, 32]
        assert [e.seq for e in await read(log, "t", 7)] == list(range(8, 33))


async def test_reopened_without_a_scan(tmp_path: Path):
    """After a clean end nothing is scanned: damage that nobody reads is not even seen."""
    async with journal(tmp_path) as log:
        await said(log, "s", ["hello"])
    assert inspect(tmp_path).unindexed == 0
    (segment,) = segments(tmp_path)
    with segment.open("ab") as file:
        file.write(b"rubbish")
    size = segment.stat().st_size
    async with journal(tmp_path) as log:
        assert len(await read(log, "s")) == 3
    assert segment.stat().st_size == size


async def test_times_survive(tmp_path: Path):
    """`ms` of a replay is that of the live stream, also for a part of it."""
    now = [1_000_000_000_000]
    log = await open_log(Streams(), tmp_path, lambda: now[0])
    begin(log, "s")
    for step in (7, 0, -3, 20):  # a clock that is set back stands still
        now[0] += step
        log.append(StreamId("s"), [text("x")])
        await log.settled(StreamId("s"))
    log.append(StreamId("s"), [ev.Done(reason="stop")])
    assert [e.ms for e in await read(log, "s")] == [0, 7, 7, 7, 24, 24]
    await log.aclose()
    again = await open_log(Streams(), tmp_path, lambda: now[0])
    assert [e.ms for e in await read(again, "s")] == [0, 7, 7, 7, 24, 24]
    assert [e.ms for e in await read(again, "s", 3)] == [7, 24, 24]
    info = await again.info(StreamId("s"))
    await again.aclose()
    assert info.ended == 1_000_000_000_024


async def test_erased_content_is_on_no_disk(tmp_path: Path):
    """Neither prompt nor answer nor a big part of either is in any file, at once and later."""
    secret, big = "SECRETPROMPT", "BIGSECRET" * 10_000
    async with journal(tmp_path) as log:
        log.create(head("s", prompt=secret))
        log.append(StreamId("s"), [start("s"), text("SECRETANSWER"), text(big)])
        log.append(StreamId("s"), [ev.Done(reason="stop")])
        await log.settled(StreamId("s"))
        await said(log, "other", ["KEPTANSWER"])
        reader = log.reader(StreamId("s"), Seq(0))
        assert b"SECRET" in everything(tmp_path)
        await log.erase(StreamId("s"))
        with pytest.raises(UnknownStreamError):
            await reader.take()
        assert b"SECRET" not in everything(tmp_path)
        assert b"KEPTANSWER" in everything(tmp_path)
        crashed = without_index(died(tmp_path, tmp_path.with_name("crashed")))
    for folder in (tmp_path, crashed):
        async with journal(folder) as log:
            assert [info.stream for info in await log.recent(None, 9)] == ["other"]
            with pytest.raises(UnknownStreamError):
                await read(log, "s")
            assert len(await read(log, "other")) == 3


async def test_half_erased_is_erased_by_the_next_start(tmp_path: Path):
    """A crash after the first mark: the rest goes, and no later record is lost."""
    async with journal(tmp_path) as log:
        await said(log, "s", ["SECRET1", "SECRET2"])
        await said(log, "other", ["KEPT"])
    (segment,) = segments(tmp_path)
    data = bytearray(segment.read_bytes())
    data[records(segment)[2].offset + 4] = 0xFF
    segment.write_bytes(data)
    async with journal(without_index(tmp_path)) as log:
        assert [info.stream for info in await log.recent(None, 9)] == ["other"]
        assert len(await read(log, "other")) == 3
    assert b"SECRET" not in everything(tmp_path)


async def test_a_blob_that_two_streams_name_stays_for_the_other(tmp_path: Path):
    big = "B" * 100_000
    async with journal(tmp_path) as log:
        await said(log, "a", [big])
        await said(log, "b", [big])
        assert inspect(tmp_path).blobs == 1
        await log.erase(StreamId("a"))
        assert len(await read(log, "b")) == 3
        await log.erase(StreamId("b"))
        assert inspect(tmp_path).blobs == 0


async def test_retention_by_age(tmp_path: Path):
    """Old finished segments go, with their streams and blobs; what is live keeps its segment."""
    now = [10**12]
    log = await open_log(Streams(retention_days=1), tmp_path, lambda: now[0])
    await said(log, "old", ["x", "B" * 100_000])
    begin(log, "live")
    await log.settled(StreamId("live"))
    now[0] += 2 * 24 * 3600 * 1000
    await said(log, "new", ["y"])
    await log.retain()
    assert len(await read(log, "old")) == 4  # beside a live one
    log.append(StreamId("live"), [ev.Done(reason="stop")])
    await log.settled(StreamId("live"))
    await log.aclose()
    log = await open_log(Streams(retention_days=1), tmp_path, lambda: now[0])
    left = [info.stream for info in await log.recent(None, 9)]
    assert sorted(left) == ["new"]
    assert inspect(tmp_path).blobs == 0
    with pytest.raises(UnknownStreamError):
        await read(log, "old")
    await log.aclose()


async def test_retention_by_size(tmp_path: Path):
    """The oldest segments go until the rest is small enough."""
    settings = Streams(segment_bytes=64 * 1024, retention_bytes=300_000)
    async with journal(tmp_path, settings) as log:
        for n in range(20):
            await said(log, f"s{n:02}", ["x" * 40_000])
            await log._indexing.flush()
        await log.retain()
        left = sorted(info.stream for info in await log.recent(None, 99))
        assert "s00" not in left
        assert "s19" in left
        assert left == [f"s{n:02}" for n in range(20 - len(left), 20)]
        assert sum(path.stat().st_size for path in segments(tmp_path)) <= 300_000 + 2 * 64 * 1024
        assert log.status().bytes <= 300_000 + 2 * 64 * 1024
        for stream in left:
            assert len(await read(log, stream)) == 3


async def test_retention_follows_every_roll(tmp_path: Path):
    """Under load the folder stays near its bound without waiting for the minute to pass."""
    settings = Streams(segment_bytes=64 * 1024, retention_bytes=300_000)
    async with journal(tmp_path, settings) as log:
        for n in range(20):
            await said(log, f"s{n:02}", ["x" * 40_000])
            await log._indexing.flush()
        async with asyncio.timeout(10):
            while sum(path.stat().st_size for path in segments(tmp_path)) > 300_000 + 2 * 65_536:
                await asyncio.sleep(0.01)


async def test_a_forgotten_stream_stays_forgotten_without_its_index(tmp_path: Path):
    """Its head lies in an older segment that a live stream keeps; the rest of it was dropped."""
    settings = Streams(segment_bytes=64 * 1024, retention_bytes=200_000)
    async with journal(tmp_path / "a", settings) as log:
        begin(log, "live")
        await said(log, "gone", [f"{n}:" + "x" * 9_000 for n in range(30)], end=False)
        for _ in range(30):
            log.append(StreamId("gone"), [text("y" * 9_000)])
            await log.settled(StreamId("gone"))
        log.append(StreamId("gone"), [ev.Done(reason="stop")])
        await log.settled(StreamId("gone"))
        await said(log, "last", ["z" * 40_000])
        await log._indexing.flush()
        await log.retain()
        with pytest.raises(UnknownStreamError):
            await read(log, "gone")
        left = [record.stream for path in segments(tmp_path / "a") for record in records(path)]
        assert b"gone" in left
        copy = without_index(died(tmp_path / "a", tmp_path / "b"))
    async with journal(copy) as log:
        assert sorted(info.stream for info in await log.recent(None, 9)) == ["last", "live"]
        assert len(await read(log, "last")) == 3


async def test_rebuilt_index_is_the_same(tmp_path: Path):
    async with journal(tmp_path, SMALL) as log:
        for n in range(8):
            await said(log, f"s{n}", ["x" * 9_000, "B" * 70_000], end=n != 5)
        await log.erase(StreamId("s3"))
        with pytest.raises(ConfigError):
            rebuild_index(tmp_path)
    async with journal(tmp_path, SMALL) as log:
        before = await log.recent(None, 99)
        entries = {info.stream: await read(log, info.stream) for info in before}
    report = rebuild_index(tmp_path)
    assert (report.streams, report.index_current, report.in_use) == (7, True, False)
    async with journal(tmp_path, SMALL) as log:
        assert await log.recent(None, 99) == before
        assert {info.stream: await read(log, info.stream) for info in before} == entries
    assert (tmp_path / "index.sqlite.old").exists()


async def test_a_rebuilt_index_knows_which_stream_names_which_blob(tmp_path: Path):
    async with journal(tmp_path, SMALL) as log:
        shown = await log.put_blob(StreamId("s"), b"p" * 1_000, "image/png")
        asked = await log.put_blob(StreamId("s"), b"q" * 1_000, "image/png")
        seen = await log.put_blob(StreamId("s"), b"r" * 1_000, "image/png")
        nobody = await log.put_blob(StreamId("never"), b"n" * 1_000, "image/png")
        part = ImagePart(blob=asked)
        request = Request(model="m", messages=(Message(role="user", parts=(part,)),))
        log.create(msgspec.structs.replace(head("s"), request=request))
        log.append(StreamId("s"), [start("s"), ev.Progress(what="step", at=1, of=2, preview=seen)])
        log.append(StreamId("s"), [ev.Image(part=1, blob=shown), text("B" * 100_000)])
        log.append(StreamId("s"), [ev.Done(reason="stop")])
        await log.settled(StreamId("s"))
    assert inspect(tmp_path).blobs == 5
    rebuild_index(tmp_path)
    assert inspect(tmp_path).blobs == 4  # what no stream names is swept
    async with journal(tmp_path, SMALL) as log:
        for blob, byte in ((shown, b"p"), (asked, b"q"), (seen, b"r")):
            assert await log.blob(StreamId("s"), blob.sha256) == byte * 1_000
        with pytest.raises(UnknownStreamError):
            await log.blob(StreamId("never"), nobody.sha256)
        await log.erase(StreamId("s"))
        assert inspect(tmp_path).blobs == 0


@pytest.mark.parametrize("damage", ["older", "newer", "rubbish"])
async def test_an_index_of_another_version_is_moved_aside(tmp_path: Path, damage: str):
    async with journal(tmp_path) as log:
        await said(log, "s", ["x"])
    index = tmp_path / "index.sqlite"
    if damage == "rubbish":
        index.write_bytes(b"not a database at all" * 500)
    else:
        db = sqlite3.connect(index)
        db.execute(f"PRAGMA user_version={0 if damage == 'older' else 99}")
        db.close()
    assert not inspect(tmp_path).index_current
    async with journal(tmp_path) as log:
        assert len(await read(log, "s")) == 3
    assert inspect(tmp_path).index_current
    assert (tmp_path / "index.sqlite.old").exists()


async def test_inspection(tmp_path: Path):
    assert inspect(tmp_path).index_version is None
    async with journal(tmp_path) as log:
        await said(log, "s", ["x" * 100_000])
        await log._indexing.flush()
        report = inspect(tmp_path)
        assert (report.in_use, report.streams, report.segments, report.blobs) == (True, 1, 1, 1)
        assert report.bytes > 100_000
        assert await inspect_heads(tmp_path, {"s", "nope"}) == {"s": head("s")}
    assert not inspect(tmp_path).in_use


async def test_a_folder_that_can_not_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        await open_log(Streams(), tmp_path / "file" / "streams", clock())
    assert caught.value.param == "streams.folder"
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("size", [3_000, 70_000])
async def test_the_backlog_is_bounded(tmp_path: Path, size: int):
    """A refused batch leaves no trace; after `settled` there is room again."""
    settings = Streams(sync="always", max_backlog_bytes=200_000)
    async with journal(tmp_path, settings) as log:
        begin(log, "s")
        taken = 1
        for _ in range(3):
            with pytest.raises(LogFullError):
                for _ in range(1_000):
                    taken = log.append(StreamId("s"), [text("x" * size)])
            assert log.status().backlog_bytes <= 200_000
            assert await log.settled(StreamId("s")) == taken
            assert log.status().backlog_bytes == 0
        log.append(StreamId("s"), [ev.Done(reason="stop")])
        assert len(await read(log, "s")) == taken + 1


async def test_a_part_that_can_not_be_written(tmp_path: Path):
    """A big part that the disk refuses breaks its stream, and the small ones after it."""
    async with journal(tmp_path) as log:
        begin(log, "s")
        await log.settled(StreamId("s"))
        (tmp_path / "blobs").rename(tmp_path / "gone")
        log.append(StreamId("s"), [text("B" * 100_000)])
        log.append(StreamId("s"), [text("after")])
        with pytest.raises(LogUnavailableError):
            await log.settled(StreamId("s"))
        assert log.status().backlog_bytes == 0
        (tmp_path / "gone").rename(tmp_path / "blobs")
        async with asyncio.timeout(20):
            while not log.status().writable:
                await asyncio.sleep(0.1)
        entries = await read(log, "s")
        assert [e.seq for e in entries] == [1, 2]
        assert (await log.info(StreamId("s"))).state == "failed"
