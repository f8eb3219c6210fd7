"""Forgetting: one stream on request, whole segments by age and size. In the index's thread."""

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from penstock.streams.journal._blobs import Blobs
from penstock.streams.journal._records import ERASED, MARK_AT, OVERHEAD, Places, parse
from penstock.streams.journal.archive import read_at
from penstock.streams.journal.index import Index

_LONGEST_ID = 255
_ZEROS = bytes(64 * 1024)
_STRAY_MS = 24 * 3600 * 1000
_log = logging.getLogger(__name__)


class Bounds(msgspec.Struct, frozen=True):
    """What may stay: age in milliseconds, size of all segments and blobs in bytes."""

    age_ms: int
    size: int


def wipe(segments: Path, runs: Iterable[Places]) -> None:
    """Overwrites the payloads of records, in place, and forces that to the disk.

    First every record is marked, each by one byte, then the payloads go: a crash between leaves a
    segment whose records all hold, and a marked stream that the next start wipes on.
    """
    for run in runs:
        path = segments / run.segment
        if not path.exists():
            continue
        payloads = _marked(path, run)
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for offset, _ in payloads:
                os.pwrite(fd, bytes((ERASED,)), offset + MARK_AT)
            os.fdatasync(fd)
            for offset, (start, end) in payloads:
                _zero(fd, offset + start, offset + end)
            os.fdatasync(fd)
        finally:
            os.close(fd)


def _marked(path: Path, run: Places) -> list[tuple[int, tuple[int, int]]]:
    found = []
    for n in range(len(run)):
        offset, _, _ = run[n]
        record = parse(read_at(path, offset, OVERHEAD + _LONGEST_ID), 0)
        if record is None:
            _log.error("a record of %s at %d can't be erased: it is damaged", path.name, offset)
        else:
            found.append((offset, (record.payload, record.end)))
    return found


def _zero(fd: int, start: int, end: int) -> None:
    while start < end:
        start += os.pwrite(fd, _ZEROS[: end - start], start)


def erase(index: Index, segments: Path, blobs: Blobs, streams: Sequence[str]) -> None:
    """Makes streams unreadable for good: records, blobs and their lines in the index."""
    for stream in streams:
        index.mark_erasing(stream)
        wipe(segments, index.places(stream))
    with index.begin():
        blobs.drop(index.forget(streams))


def retain(index: Index, segments: Path, blobs: Blobs, bounds: Bounds, now: int) -> int:
    """Drops finished segments that are too old, then the oldest while there is too much.

    Returns the bytes that stay. A segment in which any stream is live is never dropped.
    """
    sizes = {path.name: path.stat().st_size for path in segments.glob("*.seg")}
    with index.begin():
        blobs.drop(index.forget(index.stray_blobs(now - _STRAY_MS)))
    total = sum(sizes.values()) + index.blob_bytes()
    for row in index.segments().values():
        if not row.sealed or (row.last >= now - bounds.age_ms and total <= bounds.size):
            continue
        total -= sizes.pop(row.name, 0) + _drop(index, segments, blobs, row.name)
        _log.info("forgot segment %s", row.name)
    return total


def _drop(index: Index, segments: Path, blobs: Blobs, name: str) -> int:
    """Forgets a segment and every stream in it; returns the bytes of blobs that went with them.

    What such a stream left in older segments stays there until they go too, but without its head
    it is no stream: a rebuilt index can't take it for the whole of one.
    """
    before = index.blob_bytes()
    with index.begin():
        for segment, offsets in index.heads_before(name).items():
            _behead(segments / segment, offsets)
        blobs.drop(index.forget_segment(name))
        (segments / name).unlink(missing_ok=True)
    return before - index.blob_bytes()


def _behead(path: Path, offsets: Iterable[int]) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        for offset in offsets:
            os.pwrite(fd, bytes((ERASED,)), offset + MARK_AT)
        os.fdatasync(fd)
    finally:
        os.close(fd)
