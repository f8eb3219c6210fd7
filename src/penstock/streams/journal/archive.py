"""The reading side: streams found in the index, records read from files. All of it in threads."""

import os
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from penstock.core.errors import InternalError, LogUnavailableError, UnknownStreamError
from penstock.core.events import Entry, Event
from penstock.core.ports import Head, StreamInfo
from penstock.streams.journal._blobs import Blobs
from penstock.streams.journal._naming import named_by, named_by_head
from penstock.streams.journal._records import (
    BlobReference,
    Places,
    Record,
    entries,
    is_whole,
    parse,
)
from penstock.streams.journal.index import Index, StreamRow
from penstock.wire import json

T = TypeVar("T")
MOST_RECORDS: Final = 512
MOST_BYTES: Final = 256 * 1024
_GAP: Final = 4 * 1024
_THREADS: Final = 4

Span = list[tuple[int, int]]
"""Offset and size of records that one read fetches."""


class Archive:
    """Streams as they lie on the disk."""

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        self.segments = folder / "segments"
        self._folder = folder
        self.blobs = blobs
        self._files = ThreadPoolExecutor(_THREADS, "penstock-read")
        self._queries = ThreadPoolExecutor(1, "penstock-query")
        self._index: Index | None = None

    async def aclose(self) -> None:
        """Waits for what is being read, then lets go of the index."""
        if self._index is not None:
            await self._loop.run_in_executor(self._queries, self._index.close)
        self._queries.shutdown()
        self._files.shutdown()

    @property
    def _loop(self) -> AbstractEventLoop:
        return get_running_loop()

    async def row(self, stream: str) -> StreamRow | None:
        """What the index knows of a stream."""
        return await self._query(lambda index: index.stream(stream))

    async def recent(self, owner: str | None, limit: int) -> list[StreamInfo]:
        """What the index lists."""
        return await self._query(lambda index: index.recent(owner, limit))

    async def blob(self, stream: str, name: str) -> bytes:
        """Bytes kept for a stream. Raises `UnknownStreamError`."""
        blob = await self._query(lambda index: index.blob(stream, name))
        try:
            if blob is not None:
                return await self.run(lambda: self.blobs.get(blob))
        except FileNotFoundError:
            pass
        raise UnknownStreamError("this stream names no such blob")

    async def _query(self, ask: Callable[[Index], T]) -> T:
        def asked() -> T:
            if self._index is None:
                self._index = Index(self._folder)
            return ask(self._index)

        return await self._loop.run_in_executor(self._queries, asked)

    async def run(self, read: Callable[[], T]) -> T:
        """Runs something that reads files."""
        return await self._loop.run_in_executor(self._files, read)

    async def head(self, runs: Sequence[Places]) -> Head:
        """The head of a stream whose places are known."""
        return await self.run(lambda: self.head_at(runs))

    async def entries(self, runs: Sequence[Places], began: int, after: int) -> list[Entry]:
        """Entries after `after`, as many as one read gives; none at the end of what is there."""
        return await self.run(lambda: self.entries_after(runs, began, after))

    # ── in threads ───────────────────────────────────────────────────────────────────────────────

    def head_at(self, runs: Sequence[Places]) -> Head:
        """The same, in a thread already."""
        offset, size, first = runs[0][0]
        if first:
            raise InternalError("the first record of a stream is not its head")
        data = _read(self.segments / runs[0].segment, [(offset, size)])
        return json.decode(self._payload(data, _checked(data, 0)), Head, InternalError)

    def entries_after(self, runs: Sequence[Places], began: int, after: int) -> list[Entry]:
        """The same, in a thread already."""
        found: list[Entry] = []
        records = 0
        size = 0
        for run in _from(runs, after + 1):
            start = max(run.holding(after + 1), 0)
            wanted: Span = []
            for n in range(start, len(run)):
                if records and (records >= MOST_RECORDS or size >= MOST_BYTES):
                    break
                place = run[n]
                wanted.append(place[:2])
                records += 1
                size += place[1]
            for span in _spans(wanted):
                self._decode(self.segments / run.segment, span, began, found)
            if records >= MOST_RECORDS or size >= MOST_BYTES:
                break
        return [entry for entry in found if entry.seq > after]

    def _decode(self, path: Path, span: Span, began: int, found: list[Entry]) -> None:
        data = _read(path, span)
        for offset, _ in span:
            record = _checked(data, offset - span[0][0])
            if not record.is_head:
                found += self.events(data, record, began)

    def named(self, data: bytes) -> list[BlobReference]:
        """The blobs that the record in `data` names."""
        record = _checked(data, 0)
        if record.is_head:
            return named_by_head(json.decode(self._payload(data, record), Head, InternalError))
        return named_by([entry.event for entry in self.events(data, record, 0)])

    def events(self, data: bytes, record: Record, began: int) -> list[Entry]:
        """The entries of one record that lies in `data`."""
        batch = json.decode(self._payload(data, record), list[Event], InternalError)
        return entries(record.first, max(record.when - began, 0), batch)

    def _payload(self, data: bytes, record: Record) -> bytes:
        payload = data[record.payload : record.end]
        if not record.in_blob:
            return payload
        try:
            return self.blobs.get(json.decode(payload, BlobReference, InternalError))
        except FileNotFoundError:
            raise _forgotten() from None


def _from(runs: Sequence[Places], seq: int) -> Sequence[Places]:
    start = 0
    for n, run in enumerate(runs):
        if run[0][2] <= seq:
            start = n
    return runs[start:]


def _spans(wanted: Span) -> list[Span]:
    spans: list[Span] = []
    end = 0
    for offset, size in wanted:
        if spans and 0 <= offset - end <= _GAP:
            spans[-1].append((offset, size))
        else:
            spans.append([(offset, size)])
        end = offset + size
    return spans


def _read(path: Path, span: Span) -> bytes:
    start = span[0][0]
    try:
        return read_at(path, start, span[-1][0] + span[-1][1] - start)
    except FileNotFoundError:
        raise _forgotten() from None


def read_at(path: Path, offset: int, size: int) -> bytes:
    """Up to `size` bytes of a file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        while size > 0 and (piece := os.pread(fd, size, offset)):
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)


def _checked(data: bytes, at: int) -> Record:
    record = parse(data, at)
    if record is not None and record.erased:
        raise _forgotten()
    if record is None or not is_whole(data, record):
        raise LogUnavailableError("a part of this stream is damaged on the disk")
    return record


def _forgotten() -> UnknownStreamError:
    return UnknownStreamError("this stream was forgotten")
