"""`kill -9` of a process that appends to many streams: what any reader was given is in the log."""

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.unit.streams.journals import without_index

from penstock.config.schema import Streams
from penstock.core import events as ev
from penstock.core.events import Failed
from penstock.streams.journal import open_log
from penstock.testing.streams import clock, read

ROOT = Path(__file__).parents[2]
KILLS = 12
WRITER = """
import asyncio, os, sys
from pathlib import Path
from penstock.config.schema import Streams
from penstock.core.events import Seq, StreamId
from penstock.streams.journal import open_log
from penstock.testing.streams import begin, clock, text

async def reading(log, name):
    reader = log.reader(StreamId(name), Seq(0))
    while entries := await reader.take():
        os.write(1, f"{name} {entries[-1].seq}\\n".encode())

async def writing(log, name):
    stream = begin(log, name)
    for n in range(1_000_000):
        size = 90_000 if n % 200 == 150 else 20 + n % 60
        last = log.append(stream, [text(f"{n}".ljust(size, "."))])
        await asyncio.sleep(0.001)

async def main():
    prefix = sys.argv[3]
    log = await open_log(Streams(sync=sys.argv[2], segment_bytes=65536), Path(sys.argv[1]), clock())
    async with asyncio.TaskGroup() as tasks:
        for n in range(24):
            tasks.create_task(writing(log, f"{prefix}.{n}"))
            await asyncio.sleep(0)
            tasks.create_task(reading(log, f"{prefix}.{n}"))

asyncio.run(main())
"""


def kill_one(folder: Path, sync: str, prefix: str, after: float) -> Counter[str]:
    """Lets a writer run for that many seconds after its first word, kills it, and returns the
    highest seq that each stream's reader was given.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), sync, prefix],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    heard = process.stdout.readline()
    time.sleep(after)
    process.kill()
    heard += process.stdout.read()
    process.wait()
    process.stdout.close()
    given: Counter[str] = Counter()
    for line in heard.decode().split("\n")[:-1]:
        name, seq = line.split()
        given[name] = int(seq)
    return given


@pytest.mark.parametrize("sync", ["interval", "always"])
async def test_nothing_that_was_given_is_missing(tmp_path: Path, sync: str):
    """Over many kills in one folder, each found by the next start and by the last one."""
    dice = random.Random(20261121)
    given: Counter[str] = Counter()
    for turn in range(KILLS):
        given |= await asyncio.to_thread(
            kill_one, tmp_path, sync, f"k{turn}", dice.uniform(0.0, 0.4)
        )
        if turn % 3 == 2:
            await check(tmp_path, given)
    without_index(tmp_path)
    await check(tmp_path, given)
    assert sum(given.values()) > KILLS * 100


async def check(folder: Path, given: Counter[str]) -> None:
    log = await open_log(Streams(), folder, clock())
    for name, seq in given.items():
        entries = await read(log, name)
        assert len(entries) > seq
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert isinstance(entries[0].event, ev.Start)
        for n, entry in enumerate(entries[1:-1]):
            assert isinstance(entry.event, ev.TextDelta)
            assert entry.event.text.rstrip(".") == str(n)
        last = entries[-1].event
        assert isinstance(last, Failed)
        assert last.code == "interrupted"
    assert log.status().live == 0
    await log.aclose()
