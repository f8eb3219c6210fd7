"""Journals for tests: opened, and as a process leaves them that dies."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from penstock.config.schema import Streams
from penstock.core import events as ev
from penstock.core.events import StreamId
from penstock.streams.journal import Log, open_log
from penstock.streams.journal._records import Record, scan
from penstock.testing.streams import begin, clock, text


@asynccontextmanager
async def journal(folder: Path, settings: Streams | None = None) -> AsyncIterator[Log]:
    """A journal, closed at the end."""
    log = await open_log(settings or Streams(), folder, clock())
    try:
        yield log
    finally:
        await log.aclose()


def died(folder: Path, copy: Path) -> Path:
    """The folder as it would be if its process died now: same bytes, no locks."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    return copy


def without_index(folder: Path) -> Path:
    """The same journal, its index lost."""
    for path in folder.glob("index.sqlite*"):
        path.unlink()
    return folder


def segments(folder: Path) -> list[Path]:
    """All segments, oldest first."""
    return sorted((folder / "segments").glob("*.seg"))


def records(path: Path) -> list[Record]:
    """The whole records of a segment."""
    return [item for item in scan(path.read_bytes()) if isinstance(item, Record)]


def everything(folder: Path) -> bytes:
    """All bytes of all files."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


async def said(log: Log, stream: str, pieces: list[str], *, end: bool = True) -> None:
    """Writes a stream, a batch a piece, and waits until it is in the log."""
    begin(log, stream)
    for piece in pieces:
        log.append(StreamId(stream), [text(piece)])
    if end:
        log.append(StreamId(stream), [ev.Done(reason="stop")])
    await log.settled(StreamId(stream))
