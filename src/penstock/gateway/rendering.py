"""Entries to frames, from the beginning or from a cursor, in any dialect.

An encoder is a pure function of the entries that it was fed, so resuming is feeding it the whole
stream and withholding what the reader already has. No dialect needs resume code of its own.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from penstock.core.errors import InvalidRequestError
from penstock.core.events import TERMINAL, Entry
from penstock.core.ports import Encoder, Frame


class Cursor(NamedTuple):
    """A frame's place: the seq of its entry, and its number among the frames of that entry."""

    seq: int
    n: int


BEGIN = Cursor(0, 0)


def parse_event_id(value: str) -> tuple[str, Cursor]:
    """`STREAM@seq.n` as sent in `id:` lines. Raises `InvalidRequestError`."""
    stream, at, place = value.partition("@")
    seq, dot, n = place.partition(".")
    if not (stream and at and dot and seq.isdecimal() and n.isdecimal() and len(place) < 40):
        raise InvalidRequestError(
            "Last-Event-ID is not of the form STREAM@seq.n", param="Last-Event-ID"
        )
    return stream, Cursor(int(seq), int(n))


def event_id(stream: str, cursor: Cursor) -> str:
    """The `id:` of a frame."""
    return f"{stream}@{cursor.seq}.{cursor.n}"


def render(encoder: Encoder, entries: Iterable[Entry]) -> list[Frame]:
    """All frames of a batch, for a reader that was there from the beginning."""
    frames: list[Frame] = []
    for entry in entries:
        frames.extend(encoder.feed(entry))
    return frames


def render_after(
    encoder: Encoder, entries: Sequence[Entry], after: Cursor
) -> list[tuple[Cursor, Frame]]:
    """The frames of a batch later than `after`, with their cursors. To a reader that has more than
    the log was left with when the power failed, the end is told all the same, and nothing else.
    """
    found: list[tuple[Cursor, Frame]] = []
    for entry in entries:
        past = entry.seq < after.seq and isinstance(entry.event, TERMINAL)
        for n, frame in enumerate(encoder.feed(entry)):
            cursor = Cursor(entry.seq, n)
            if past or cursor > after:
                found.append((cursor, frame))
    return found
