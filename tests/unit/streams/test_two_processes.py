"""Two processes with one folder: each reads what the other writes, and inherits what it leaves."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.streams.journals import journal, said, segments

from penstock.config.schema import Streams
from penstock.core import events as ev
from penstock.core.errors import UnknownStreamError
from penstock.core.events import Entry, Failed, Seq, StreamId
from penstock.streams.journal import Log
from penstock.testing.streams import begin, head, read, rest, take, text

WRITER = """
import asyncio, sys
from pathlib import Path
from penstock.config.schema import Streams
from penstock.core.events import StreamId
from penstock.streams.journal import open_log
from penstock.testing.streams import begin, clock, text

async def main():
    log = await open_log(Streams(segment_bytes=65536), Path(sys.argv[1]), clock())
    begin(log, "theirs")
    log.append(StreamId("theirs"), [text("one"), text("two")])
    await log.settled(StreamId("theirs"))
    print("ready", flush=True)
    for n in range(10_000):
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        log.append(StreamId("theirs"), [text("x" * 30_000)])
        await log.settled(StreamId("theirs"))
        print(n, flush=True)

asyncio.run(main())
"""


def other_process(folder: Path) -> subprocess.Popen[str]:
    """A process that writes to the folder, a batch for each line it is sent."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


async def known(log: Log, stream: str) -> None:
    """Waits until a stream of the other has come to the index."""
    async with asyncio.timeout(20):
        while True:
            try:
                await log.info(StreamId(stream))
            except UnknownStreamError:
                await asyncio.sleep(0.02)
            else:
                return


async def test_reading_each_other(tmp_path: Path):
    """Ended streams and live ones, heads and listings, from either side."""
    async with journal(tmp_path) as one, journal(tmp_path) as two:
        assert len(segments(tmp_path)) == 2
        await said(one, "ended", ["a"])
        begin(one, "live")
        await known(two, "ended")
        await known(two, "live")
        assert len(await read(two, "ended")) == 3
        assert await two.head(StreamId("live")) == head("live")
        assert (await two.info(StreamId("live"))).state == "live"
        assert {i.stream for i in await two.recent(None, 9)} == {"ended", "live"}

        reader = two.reader(StreamId("live"), Seq(0))
        assert [e.seq for e in await take(reader)] == [1]
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(take(reader))
            await asyncio.sleep(0.1)
            one.append(StreamId("live"), [text("b"), text("c")])
            entries = list(await waiting)
        one.append(StreamId("live"), [ev.Done(reason="stop")])
        entries += await rest(reader)
        assert [e.seq for e in entries] == [2, 3, 4]
        assert entries == (await read(one, "live"))[1:]


async def test_following_across_segments(tmp_path: Path):
    settings = Streams(segment_bytes=64 * 1024)
    async with journal(tmp_path, settings) as one, journal(tmp_path) as two:
        begin(one, "s")
        await known(two, "s")
        reader = two.reader(StreamId("s"), Seq(0))
        found = list(await take(reader))
        for n in range(30):
            one.append(StreamId("s"), [text(str(n) + "x" * 30_000)])
            await one.settled(StreamId("s"))
        one.append(StreamId("s"), [ev.Done(reason="stop")])
        found += await rest(reader)
        assert [e.seq for e in found] == list(range(1, 33))
        assert found == await read(one, "s")


async def test_erased_by_the_other(tmp_path: Path):
    async with journal(tmp_path) as one, journal(tmp_path) as two:
        await said(one, "s", ["a"])
        await one._indexing.flush()
        await two.erase(StreamId("s"))
        await said(one, "t", ["b"])
        for log in (one, two):
            with pytest.raises(UnknownStreamError):
                await read(log, "s")
        await known(two, "t")
        assert len(await read(two, "t")) == 3


async def test_a_process_that_dies_while_we_follow(tmp_path: Path):
    """Its stream is closed by whoever looks; what was seen stays, under the same numbers."""
    async with journal(tmp_path) as log:
        await said(log, "ours", ["a"], end=False)
        process = other_process(tmp_path)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            await known(log, "theirs")
            reader = log.reader(StreamId("theirs"), Seq(0))
            found: list[Entry] = []
            while len(found) < 3:
                found += await take(reader)
            for n in range(5):
                process.stdin.write("\n")
                process.stdin.flush()
                assert process.stdout.readline() == f"{n}\n"
            while len(found) < 8:
                found += await take(reader)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdin.close()
            process.stdout.close()
        found += await rest(reader)
        assert [e.seq for e in found] == list(range(1, 10))
        assert isinstance(found[-1].event, Failed)
        assert found[-1].event.code == "interrupted"
        assert await read(log, "theirs") == found
        assert (await log.info(StreamId("theirs"))).state == "interrupted"
        assert (await log.info(StreamId("ours"))).state == "live"
    async with journal(tmp_path) as log:
        assert await read(log, "theirs") == found


async def test_what_has_just_begun_is_found_by_the_other(tmp_path: Path):
    """Before it is in the index, which is written behind."""
    async with journal(tmp_path) as one, journal(tmp_path) as two:
        begin(one, "live")
        await one.settled(StreamId("live"))
        assert (await two.info(StreamId("live"))).state == "live"
        with pytest.raises(UnknownStreamError):
            await two.info(StreamId("nobodys"))


@pytest.mark.parametrize("by_name", [True, False], ids=["by name", "in a list"])
async def test_what_died_before_it_was_in_the_index_is_found(tmp_path: Path, by_name: bool):
    async with journal(tmp_path) as log:
        with other_process(tmp_path) as process:
            assert process.stdout is not None
            await asyncio.to_thread(process.stdout.readline)
            process.kill()
            await asyncio.to_thread(process.wait)
        if by_name:
            info = await log.info(StreamId("theirs"))
        else:
            (info,) = await log.recent(None, 9)
        assert (info.stream, info.state) == ("theirs", "interrupted")
        assert len(await read(log, "theirs")) == 4
