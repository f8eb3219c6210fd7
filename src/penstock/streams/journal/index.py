"""The SQLite index: which streams there are and where their records lie. Never the truth itself.

An `Index` belongs to one thread. Several threads and processes may each have one of the same file.
"""

import os
import re
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

import msgspec

from penstock.core.ports import StreamInfo, StreamState
from penstock.streams.journal._records import BlobReference, Places

VERSION: Final = 1
FILE: Final = "index.sqlite"
_BUSY_SECONDS: Final = 10.0


class StreamRow(msgspec.Struct, frozen=True):
    """A stream as the index knows it. While it is live, only its head's place is known."""

    info: StreamInfo
    began: int | None
    writer: str
    runs: tuple[Places, ...] = ()
    blobs: tuple[BlobReference, ...] = ()


class SegmentRow(msgspec.Struct, frozen=True):
    """A segment: how far it is indexed (bytes), whether it is finished, its last record's time."""

    name: str
    indexed: int
    sealed: bool
    last: int


class Index:
    """One connection."""

    def __init__(self, folder: Path) -> None:
        self._db = _connect(folder / FILE)
        self._sql = _queries(Path(__file__).with_name("index_queries.sql").read_text())

    def close(self) -> None:
        """Lets go of the file."""
        self._db.close()

    def _all(self, name: str, *values: object) -> list[tuple[object, ...]]:
        return self._db.execute(self._sql[name], values).fetchall()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def write(self, streams: Iterable[StreamRow], segments: Iterable[SegmentRow], now: int) -> None:
        """One transaction for all that waits."""
        with Transaction(self._db):
            for row in streams:
                self._put(row, now)
            for segment in segments:
                self._db.execute(
                    self._sql["put_segment"],
                    (segment.name, segment.indexed, segment.sealed, segment.last),
                )

    def _put(self, row: StreamRow, now: int) -> None:
        info = row.info
        self._db.execute(
            self._sql["put_stream"],
            (
                info.stream,
                info.owner,
                info.dialect,
                info.binding,
                info.model,
                info.state,
                info.created,
                info.ended,
                info.events,
                info.bytes,
                row.began,
                row.writer,
            ),
        )
        places = [(info.stream, run.segment, run.stored()) for run in row.runs]
        self._db.executemany(self._sql["put_place"], places)
        blobs = [(blob.sha256, info.stream, blob.size, now) for blob in row.blobs]
        self._db.executemany(self._sql["put_blob"], blobs)

    def name_blob(self, stream: str, blob: BlobReference, now: int) -> None:
        """Notes that a stream names a blob. Inside `begin()`."""
        self._db.execute(self._sql["put_blob"], (blob.sha256, stream, blob.size, now))

    def begin(self) -> "Transaction":
        """Keeps every other writer of the index out until the `with` block ends."""
        return Transaction(self._db)

    def mark_erasing(self, stream: str) -> None:
        """From here on nobody finds the stream, and a start finishes what a crash interrupts."""
        with Transaction(self._db):
            self._db.execute(self._sql["set_erasing"], (stream,))

    def forget(self, streams: Iterable[str]) -> list[str]:
        """Drops streams, and returns which blobs nobody names any more. Inside `begin()`."""
        orphans: set[str] = set()
        for stream in streams:
            orphans.update(str(row[0]) for row in self._all("blobs_of", stream))
            for name in ("drop_stream", "drop_places", "drop_blobs"):
                self._db.execute(self._sql[name], (stream,))
        return [blob for blob in orphans if not self._all("blob_is_named", blob)]

    def forget_segment(self, name: str) -> list[str]:
        """Drops a segment and every stream with a record in it. Inside `begin()`.

        Returns which blobs nobody names any more.
        """
        blobs = [str(row[0]) for row in self._all("blobs_in", name)]
        for query in ("drop_streams_in", "drop_blobs_in", "drop_places_in", "drop_segment"):
            self._db.execute(self._sql[query], (name,))
        return [blob for blob in blobs if not self._all("blob_is_named", blob)]

    def heads_before(self, name: str) -> dict[str, list[int]]:
        """Where the heads of this segment's streams lie that are in older ones: offsets by
        segment.
        """
        found: dict[str, list[int]] = {}
        for segment, records in self._all("heads_before", name):
            place = Places(cast("str", segment), cast("bytes", records))
            if len(place) and place[0][2] == 0:
                found.setdefault(place.segment, []).append(place[0][0])
        return found

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def stream(self, stream: str) -> StreamRow | None:
        """One stream with all its places, in the order of their records."""
        rows = self._all("stream", stream)
        if not rows:
            return None
        (*line, began, writer) = rows[0]
        return StreamRow(
            info=_info(line),
            began=cast("int | None", began),
            writer=cast("str", writer),
            runs=self.places(stream),
        )

    def places(self, stream: str) -> tuple[Places, ...]:
        """Where the records of a stream lie, in their order, also while it is being erased."""
        found = [
            Places(cast("str", segment), cast("bytes", records))
            for segment, records in self._all("places", stream)
        ]
        return tuple(sorted([run for run in found if len(run)], key=lambda run: run[0][2]))

    def recent(self, owner: str | None, limit: int) -> list[StreamInfo]:
        """The newest first."""
        if owner is None:
            return [_info(row) for row in self._all("recent", limit)]
        return [_info(row) for row in self._all("recent_of", owner, limit)]

    def segments(self) -> dict[str, SegmentRow]:
        """All segments by name, oldest first."""
        rows = [
            SegmentRow(cast("str", name), cast("int", indexed), bool(sealed), cast("int", last))
            for name, indexed, sealed, last in self._all("segments")
        ]
        return {row.name: row for row in rows}

    def states(self) -> dict[str, StreamState]:
        """The state of every stream."""
        return {
            cast("str", stream): cast("StreamState", state) for stream, state in self._all("states")
        }

    def open_of(self, writer: str) -> list[str]:
        """The streams that a writer left open."""
        return [cast("str", row[0]) for row in self._all("open_of", writer)]

    def open_writers(self) -> set[str]:
        """The writers of all streams that are open."""
        return {cast("str", row[0]) for row in self._all("open_writers")}

    def erasing(self) -> list[str]:
        """Streams whose erasing was begun and not finished."""
        return [cast("str", row[0]) for row in self._all("erasing")]

    def stray_blobs(self, before: int) -> list[str]:
        """Streams that were to name a blob before that time and never came to be."""
        return [cast("str", row[0]) for row in self._all("stray_blobs", before)]

    def blob(self, stream: str, name: str) -> BlobReference | None:
        """A blob, if the stream names it."""
        rows = self._all("blob", name, stream)
        return BlobReference(name, cast("int", rows[0][0])) if rows else None

    def blobs(self) -> set[str]:
        """All that any stream names."""
        return {cast("str", row[0]) for row in self._all("blobs")}

    def blob_bytes(self) -> int:
        """Size of all files of `blobs/`."""
        return cast("int", self._all("blob_bytes")[0][0])


class Transaction:
    """Keeps every other writer of the index out; all of it happens, or nothing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    # SQLite gives its other files the mode of this one.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA secure_delete=ON")
        with Transaction(db):
            for statement in Path(__file__).with_name("index_schema.sql").read_text().split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version={VERSION}")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _queries(text: str) -> dict[str, str]:
    found = re.findall(r"-- name: (\w+)\n(.*?);", text, re.DOTALL)
    return dict(found)


def _info(row: Sequence[object]) -> StreamInfo:
    stream, owner, dialect, binding, model, state, created, ended, events, size = row
    return StreamInfo(
        stream=cast("str", stream),
        owner=cast("str", owner),
        dialect=cast("str", dialect),
        binding=cast("str", binding),
        model=cast("str", model),
        state=cast("StreamState", state),
        created=cast("int", created),
        ended=cast("int | None", ended),
        events=cast("int", events),
        bytes=cast("int", size),
    )


def version(folder: Path) -> int | None:
    """The version of the index in a folder; `None` without one, -1 when it is damaged."""
    path = folder / FILE
    if not path.exists() or path.stat().st_size == 0:
        return None
    try:
        db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
        try:
            if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                return -1
            return int(db.execute("PRAGMA user_version").fetchone()[0])
        finally:
            db.close()
    except sqlite3.DatabaseError:
        return -1


def move_aside(folder: Path) -> None:
    """Keeps an index that we can't use under another name, one of them."""
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            (folder / (FILE + ending)).rename(folder / f"{FILE}.old{ending}")
