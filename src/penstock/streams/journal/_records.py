"""One record of a segment: how it is packed, and how records are found again in damaged bytes.

Layout, little-endian: magic (4), mark (1), what (1), length of the stream's id (1), length of the
payload (4), first seq (4), count (4), time of the batch in ms since the epoch (8), CRC-32 of the
payload (4), the id, CRC-32 of everything from `what` to the id (4), the payload.

The mark stands outside both checksums so that one single-byte write, which can't be torn, turns a
record into an erased one whose length still holds. The magic's first byte occurs in no payload,
which is ASCII JSON, and in no id: finding it again after damage can't go wrong inside a record.
"""

import sys
from array import array
from collections.abc import Iterator
from mmap import mmap
from struct import Struct
from typing import Final
from zlib import crc32

import msgspec

from penstock.core.events import Entry, Event, Seq
from penstock.core.ports import StreamState

MAGIC: Final = b"\xf1PR\x01"
_ALIVE: Final = MAGIC + b"\x00"
_BODY: Final = Struct("<BBIIIQI")
_CRC: Final = Struct("<I")
MARK_AT: Final = len(MAGIC)
ERASED: Final = 0xFF
_FIXED: Final = len(_ALIVE) + _BODY.size
OVERHEAD: Final = _FIXED + _CRC.size
"""Bytes of a record besides id and payload."""

HEAD: Final = 1
BATCH: Final = 2
IN_BLOB: Final = 4
"""Flag beside HEAD or BATCH: the payload only names the file that holds the real one."""

NAMES: Final = 8
"""Flag: the payload names blobs that were kept for this stream."""

STATES: Final[tuple[StreamState, ...]] = ("live", "done", "failed", "cancelled", "interrupted")
"""How the stream stands after a record, by the upper four bits of `what`."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """Where a record lies and what its header says. `payload` and `end` are offsets."""

    offset: int
    payload: int
    end: int
    what: int
    stream: bytes
    first: int
    count: int
    when: int
    crc: int
    erased: bool

    @property
    def state(self) -> StreamState:
        """How the stream stands after this record."""
        return STATES[self.what >> 4]

    @property
    def is_head(self) -> bool:
        """Whether the payload is the stream's `Head`."""
        return bool(self.what & HEAD)

    @property
    def names_blobs(self) -> bool:
        """Whether the head or the events name blobs."""
        return bool(self.what & NAMES)

    @property
    def in_blob(self) -> bool:
        """Whether the payload is a `BlobReference`."""
        return bool(self.what & IN_BLOB)


class Damage(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are no record. `torn`: nothing whole comes after them."""

    offset: int
    end: int
    torn: bool


class BlobReference(msgspec.Struct, frozen=True, gc=False):
    """The payload of a record whose real payload lies in a file. `size` in bytes."""

    sha256: str
    size: int


def pack(what: int, stream: bytes, first: int, count: int, when: int, payload: bytes) -> bytes:
    """A whole record."""
    body = _BODY.pack(what, len(stream), len(payload), first, count, when, crc32(payload)) + stream
    return b"".join((_ALIVE, body, _CRC.pack(crc32(body)), payload))


def parse(data: bytes | mmap, at: int) -> Record | None:
    """The record whose header is whole at `at`; says nothing about its payload."""
    if len(data) - at < OVERHEAD or data[at : at + MARK_AT] != MAGIC:
        return None
    what, id_size, size, first, count, when, crc = _BODY.unpack_from(data, at + len(_ALIVE))
    stop = at + _FIXED + id_size
    if stop + _CRC.size > len(data) or what >> 4 >= len(STATES):
        return None
    (expected,) = _CRC.unpack_from(data, stop)
    if crc32(data[at + len(_ALIVE) : stop]) != expected:
        return None
    payload = stop + _CRC.size
    return Record(
        offset=at,
        payload=payload,
        end=payload + size,
        what=what,
        stream=bytes(data[at + _FIXED : stop]),
        first=first,
        count=count,
        when=when,
        crc=crc,
        erased=data[at + MARK_AT] == ERASED,
    )


def is_whole(data: bytes | mmap, record: Record) -> bool:
    """Whether the payload is all there and is what was written."""
    if record.end > len(data):
        return False
    return record.erased or crc32(data[record.payload : record.end]) == record.crc


def scan(data: bytes | mmap, start: int = 0) -> Iterator[Record | Damage]:
    """All records from `start` on, and every stretch of bytes that is none."""
    at = start
    while at < len(data):
        record = parse(data, at)
        if record is not None and is_whole(data, record):
            yield record
            at = record.end
            continue
        resumed = _resume(data, at + 1)
        yield Damage(at, len(data) if resumed is None else resumed, resumed is None)
        if resumed is None:
            return
        at = resumed


def _resume(data: bytes | mmap, at: int) -> int | None:
    while (at := data.find(MAGIC, at)) >= 0:
        record = parse(data, at)
        if record is not None and is_whole(data, record):
            return at
        at += 1
    return None


class Places:
    """Where the records of one stream lie in one segment: 16 bytes a record, in order.

    The first seq of a head is 0.
    """

    __slots__ = ("_words", "segment")

    def __init__(self, segment: str, stored: bytes = b"") -> None:
        self.segment = segment
        self._words = array("Q", stored)
        if sys.byteorder == "big":
            self._words.byteswap()

    def add(self, offset: int, size: int, first: int) -> None:
        """The next record; `size` in bytes."""
        self._words.append(offset)
        self._words.append(size << 32 | first)

    def stored(self) -> bytes:
        """What the constructor takes back, on any machine."""
        words = self._words
        if sys.byteorder == "big":
            words = words[:]
            words.byteswap()
        return words.tobytes()

    def __len__(self) -> int:
        return len(self._words) // 2

    def __getitem__(self, at: int) -> tuple[int, int, int]:
        """Offset, size and first seq of one record."""
        word = self._words[2 * at + 1]
        return self._words[2 * at], word >> 32, word & 0xFFFFFFFF

    def holding(self, seq: int) -> int:
        """The index of the last record whose first seq is not above `seq`; -1 if none."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._words[2 * middle + 1] & 0xFFFFFFFF <= seq:
                low = middle + 1
            else:
                high = middle
        return low - 1


def entries(first: int, ms: int, events: list[Event]) -> list[Entry]:
    """Numbered events of one batch."""
    return [Entry(Seq(first + n), ms, event) for n, event in enumerate(events)]
