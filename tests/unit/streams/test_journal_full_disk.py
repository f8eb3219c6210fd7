"""A kernel that refuses writes: nothing unlogged is shown, and the log comes back by itself.

A limit on the size of files (`RLIMIT_FSIZE`) is the refusal: a write across it is cut short, the
next one fails, just as on a full disk.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.streams.journals import journal

from penstock.core.events import Done, Failed
from penstock.testing.streams import read

SCRIPT = """
import asyncio, resource, signal, sys
from pathlib import Path
from penstock.config.schema import Streams
from penstock.core.errors import LogUnavailableError
from penstock.core import events as ev
from penstock.core.events import Seq, StreamId
from penstock.streams.journal import open_log
from penstock.testing.streams import begin, clock, head, read, rest, take, text

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def refused(doing):
    try:
        doing()
    except LogUnavailableError as error:
        assert error.retry_after
        return
    raise AssertionError("not refused")

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log = await open_log(Streams(sync=sys.argv[2]), Path(sys.argv[1]), clock())
    begin(log, "old")
    log.append(StreamId("old"), [ev.Done(reason="stop")])
    await log.settled(StreamId("old"))
    live, quiet = begin(log, "live"), begin(log, "quiet")
    reader = log.reader(live, Seq(0))
    await log.settled(live)
    await log._indexing.flush()
    limit(120_000)
    seen = list(await take(reader))
    try:
        for n in range(1_000):
            log.append(live, [text(str(n) * 300)])
            if n % 3 == 0:
                await log.settled(live)
                seen += await take(reader)
    except LogUnavailableError:
        pass
    else:
        raise AssertionError("the kernel did not refuse")
    try:
        while True:
            seen += await take(reader)
    except LogUnavailableError:
        pass
    status = log.status()
    assert (status.writable, status.backlog_bytes) == (False, 0), status
    assert status.trouble, status
    refused(lambda: log.create(head("new")))
    refused(lambda: log.append(live, [text("x")]))
    assert len(await read(log, "old")) == 2
    again = []
    for reader in (log.reader(live, Seq(0)),):
        try:
            while True:
                again += await take(reader)
        except LogUnavailableError:
            pass
    assert again == seen, (len(again), len(seen))
    if sys.argv[3] == "die":
        print(len(seen), flush=True)
        signal.raise_signal(signal.SIGKILL)
    limit(resource.RLIM_INFINITY)
    async with asyncio.timeout(20):
        while not log.status().writable:
            await asyncio.sleep(0.1)
    begin(log, "new")
    log.append(StreamId("new"), [ev.Done(reason="stop")])
    await log.settled(StreamId("new"))
    entries = await read(log, "live")
    assert entries[:-1] == seen
    assert entries[-1].event.code == "log_unavailable"
    log.append(quiet, [text("still here"), ev.Done(reason="stop")])
    await log.settled(quiet)
    assert len(await read(log, "quiet")) == 3
    print(len(seen), flush=True)
    await log.aclose()

asyncio.run(main())
"""


def run(folder: Path, sync: str, ending: str) -> tuple[int, int]:
    """Exit status of the process, and how many events its reader had seen."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), sync, ending],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, int(done.stdout)


@pytest.mark.parametrize("sync", ["interval", "always", "off"])
async def test_a_refused_write_and_recovery(tmp_path: Path, sync: str):
    status, seen = run(tmp_path, sync, "recover")
    assert status == 0
    async with journal(tmp_path) as log:
        entries = await read(log, "live")
        assert len(entries) == seen + 1
        assert [e.seq for e in entries] == list(range(1, seen + 2))
        states = {info.stream: info.state for info in await log.recent(None, 9)}
        assert states == {"old": "done", "live": "failed", "quiet": "done", "new": "done"}
        assert isinstance((await read(log, "new"))[-1].event, Done)


@pytest.mark.parametrize("sync", ["interval", "always"])
async def test_a_refused_write_and_then_death(tmp_path: Path, sync: str):
    """Everything that the reader had seen is there, and then the honest end."""
    status, seen = run(tmp_path, sync, "die")
    assert status == -9
    async with journal(tmp_path) as log:
        entries = await read(log, "live")
        assert len(entries) == seen + 1
        assert isinstance(entries[-1].event, Failed)
        assert entries[-1].event.code == "interrupted"
