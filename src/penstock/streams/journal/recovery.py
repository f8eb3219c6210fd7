"""What dead processes left: their segments are scanned, cut and indexed, open streams named.

In the index's thread. A segment whose `flock` is free belongs to nobody; a writer is dead when all
of its segments are free, since it locks the next one before it lets go of the last.
"""

import fcntl
import logging
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from penstock.core.errors import GatewayError, InternalError
from penstock.core.ports import StreamInfo, StreamState
from penstock.streams.journal._live import info_of
from penstock.streams.journal._records import (
    BlobReference,
    Damage,
    Places,
    Record,
    scan,
)
from penstock.streams.journal.archive import Archive
from penstock.streams.journal.index import Index, SegmentRow, StreamRow
from penstock.streams.journal.retention import wipe
from penstock.wire import json

_log = logging.getLogger(__name__)


class Found:
    """A stream as its records tell it: a gapless prefix of what was produced."""

    def __init__(self, info: StreamInfo, writer: str, last: int) -> None:
        self.info = info
        self.writer = writer
        self.last = last
        self.began: int | None = None
        self.events = 0
        self.bytes = 0
        self.state: StreamState = "live"
        self.runs: list[Places] = []
        self.blobs: list[BlobReference] = []

    def add(self, segment: str, record: Record) -> None:
        """The next record of this stream."""
        if not self.runs or self.runs[-1].segment != segment:
            self.runs.append(Places(segment))
        self.runs[-1].add(record.offset, record.end - record.offset, record.first)
        self.bytes += record.end - record.offset
        self.last = record.when
        if not record.is_head:
            self.began = record.when if self.began is None else self.began
            self.events += record.count
            self.state = record.state

    def row(self) -> StreamRow:
        """For the index."""
        info = msgspec.structs.replace(
            self.info,
            state=self.state,
            ended=None if self.state == "live" else self.last,
            events=self.events,
            bytes=self.bytes + sum(blob.size for blob in self.blobs),
        )
        return StreamRow(info, self.began, self.writer, tuple(self.runs), tuple(self.blobs))


class Left(msgspec.Struct):
    """What was found of dead writers. Their locks are held until `release`."""

    open: list[Found]
    unsealed: list[SegmentRow]
    damage: list[tuple[str, Damage]]
    locks: list[int]

    def release(self) -> None:
        """Other processes may look again."""
        for fd in self.locks:
            os.close(fd)
        self.locks = []


def writer_of(name: str) -> str:
    """Whose segment this is."""
    return name.removesuffix(".seg").partition("-")[2]


def names(segments: Path) -> list[str]:
    """All segments, oldest first."""
    return sorted(path.name for path in segments.glob("*.seg"))


def is_alive(segments: Path, writer: str) -> bool:
    """Whether the process that wrote these segments still runs."""
    locks = _lock_all(segments, writer)
    for fd in locks or []:
        os.close(fd)
    return locks is None


def _lock(path: Path) -> int | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _lock_all(segments: Path, writer: str) -> list[int] | None:
    locks: dict[str, int] = {}
    # Again until nothing new shows up: a living writer may have gone on to its next segment.
    while waiting := [n for n in names(segments) if writer_of(n) == writer and n not in locks]:
        for name in reversed(waiting):
            fd = _lock(segments / name)
            if fd is None:
                for other in locks.values():
                    if other >= 0:
                        os.close(other)
                return None
            locks[name] = fd
    return [fd for fd in locks.values() if fd >= 0]


def recover(index: Index, archive: Archive, own: str) -> Left:
    """Takes over everything that dead writers left. Closing the open streams is the caller's."""
    segments = archive.segments
    known = index.segments()
    sealed = {name for name, row in known.items() if row.sealed}
    writers = {writer_of(name) for name in names(segments) if name not in sealed}
    writers = (writers | index.open_writers()) - {own}
    left = Left([], [], [], [])
    dead: set[str] = set()
    for writer in sorted(writers):
        locks = _lock_all(segments, writer)
        if locks is not None:
            left.locks += locks
            dead.add(writer)
    if dead:
        try:
            _Recovery(index, archive, left).run(dead)
        except BaseException:
            left.release()
            raise
    return left


class _Recovery:
    def __init__(self, index: Index, archive: Archive, left: Left) -> None:
        self._index = index
        self._archive = archive
        self._left = left
        self._streams: dict[bytes, Found] = {}
        self._erased: set[bytes] = set()
        # Asked again under the locks: another process may just have done all this.
        self._known = index.segments()
        self._states = index.states()

    def run(self, dead: set[str]) -> None:
        segments = self._archive.segments
        rows = []
        for name in names(segments):
            known = self._known.get(name)
            if writer_of(name) not in dead or (known is not None and known.sealed):
                continue
            row = self._segment(segments / name, known.indexed if known else 0)
            if row is not None:
                rows.append(row)
        self._erase()
        found = list(self._streams.values())
        self._left.open = [stream for stream in found if stream.state == "live"]
        busy = {run.segment for stream in self._left.open for run in stream.runs}
        self._left.unsealed = [row for row in rows if row.name in busy]
        self._forget_lost(dead)
        self._index.write(
            [stream.row() for stream in found if stream.state != "live"],
            [row for row in rows if row.name not in busy],
            max((row.last for row in rows), default=0),
        )

    def _segment(self, path: Path, start: int) -> SegmentRow | None:
        size = path.stat().st_size
        last = int(path.name.partition("-")[0])
        if size == 0:
            path.unlink()
            return None
        if start >= size:
            known = self._known.get(path.name)
            return SegmentRow(path.name, size, True, known.last if known else last)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            for item in scan(data, start):
                if isinstance(item, Damage):
                    size = self._damaged(path, item, size)
                else:
                    self._record(data, path.name, item)
                    last = max(last, item.when)
        if size < path.stat().st_size:
            os.truncate(path, size)
        return SegmentRow(path.name, size, True, last)

    def _damaged(self, path: Path, damage: Damage, size: int) -> int:
        """Reports damage, and returns where the segment is to end."""
        self._left.damage.append((path.name, damage))
        if damage.torn:
            _log.warning("%s: cut at the last whole record, %d", path.name, damage.offset)
            return damage.offset
        length = damage.end - damage.offset
        _log.warning("%s: %d damaged bytes at %d skipped", path.name, length, damage.offset)
        return size

    def _record(self, data: mmap.mmap, segment: str, record: Record) -> None:
        stream = record.stream
        found = self._streams.get(stream)
        if record.erased:
            self._erased.add(stream)
        if record.is_head:
            if found is None and self._states.get(stream.decode(), "live") == "live":
                found = self._head(data, segment, record)
        elif (
            found is None
            or found.state != "live"
            or (not record.erased and record.first != found.events + 1)
        ):
            return
        if found is not None:
            found.add(segment, record)
            if not record.erased and (record.in_blob or record.names_blobs):
                self._blobs_of(data, record, found)

    def _blobs_of(self, data: mmap.mmap, record: Record, found: Found) -> None:
        if record.in_blob:
            payload = data[record.payload : record.end]
            found.blobs.append(json.decode(payload, BlobReference, InternalError))
        if record.names_blobs:
            whole = data[record.offset : record.end]
            try:
                found.blobs += self._archive.named(whole)
            except GatewayError as error:
                _log.warning("blobs of %s can't be told: %s", found.info.stream, error)

    def _head(self, data: mmap.mmap, segment: str, record: Record) -> Found | None:
        name = record.stream.decode()
        if record.erased:
            info = StreamInfo(
                stream=name,
                owner="",
                dialect="",
                binding="",
                model="",
                state="live",
                created=record.when,
                ended=None,
                events=0,
                bytes=0,
            )
        else:
            place = Places(segment)
            place.add(record.offset, record.end - record.offset, 0)
            try:
                info = info_of(self._archive.head_at([place]))
            except GatewayError as error:
                _log.warning("%s: the head of %s is unreadable: %s", segment, name, error)
                return None
        found = Found(info, writer_of(segment), record.when)
        self._streams[record.stream] = found
        return found

    def _erase(self) -> None:
        erased = [self._streams.pop(stream, None) for stream in self._erased]
        for found in erased:
            if found is not None:
                wipe(self._archive.segments, found.runs)
        self._forget(stream.decode() for stream in self._erased)

    def _forget_lost(self, dead: set[str]) -> None:
        """Streams that the index calls live and whose records are gone."""
        for writer in dead:
            lost = [s for s in self._index.open_of(writer) if s.encode() not in self._streams]
            self._forget(lost)

    def _forget(self, streams: Iterable[str]) -> None:
        with self._index.begin():
            self._archive.blobs.drop(self._index.forget(streams))
