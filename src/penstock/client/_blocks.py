"""Bytes of server-sent events to what each says, quickly where lines end as they mostly do."""

from typing import Final

from penstock.wire import sse
from penstock.wire.lines import Lines

MOST: Final = 16 * 1024 * 1024
"""Bytes of one event that is never finished, before it is given up."""


class Blocks:
    """Feed it bytes, get the data of the events that they complete.

    An event is what stands between two empty lines. While no CR is seen, that is a search for two
    LF; from the first CR on each line is read by the rules of the HTML standard.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._pieces: list[bytes] = []
        self._kept = 0
        self._slow: tuple[Lines, sse.Decoder] | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Raises `ValueError` when an event is too long."""
        if self._slow is not None or b"\r" in data:
            return self._slowly(data)
        if b"\n" not in data:
            self._keep(data)
            return []
        if self._pieces:
            data = b"".join((*self._pieces, data))
            self._pieces.clear()
            self._kept = 0
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        if rest:
            self._keep(rest)
        found: list[bytes] = []
        for block in blocks:
            head, mark, said = block.partition(b"data: ")
            # One line of data, alone or after an `id:`; all else goes the long way.
            if mark and b"\n" not in said and (not head or _is_id(head)):
                found.append(said)
            else:
                found += _read(block)
        return found

    def _keep(self, piece: bytes) -> None:
        self._kept += len(piece)
        if self._kept > self._most:
            raise ValueError(f"an event is longer than {self._most} bytes")
        self._pieces.append(piece)

    def _slowly(self, data: bytes) -> list[bytes]:
        if self._slow is None:
            self._slow = (Lines(self._most), sse.Decoder())
            data = b"".join((*self._pieces, data))
            self._pieces.clear()
        lines, decoder = self._slow
        return [event.data for line in lines.feed(data) for event in decoder.feed(line)]


def _is_id(head: bytes) -> bool:
    return head[:4] == b"id: " and head.count(b"\n") == 1 and head[-1:] == b"\n"


def _read(block: bytes) -> list[bytes]:
    decoder = sse.Decoder()
    return [event.data for line in (*block.split(b"\n"), b"") for event in decoder.feed(line)]
