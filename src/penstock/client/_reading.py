"""One native stream being read, across as many connections as it takes. No I/O."""

from typing import Final
from urllib.parse import quote

from penstock.core.errors import EngineProtocolError
from penstock.core.events import BEGINNING, TERMINAL, Entry, Seq
from penstock.wire import native, sse
from penstock.wire.lines import Lines

_MOST: Final = 64 * 1024 * 1024
"""Bytes of one event that is never finished, before it is given up."""


class Reading:
    """Knows what to ask for, what has come, and whether that is all.

    Every entry is given out once and in order, however often the connection breaks.
    """

    def __init__(self, stream: str, after: Seq = BEGINNING) -> None:
        self.path = f"/streams/{quote(stream, safe='')}"
        self.after = after
        self.finished = False
        self.trouble: EngineProtocolError | None = None
        self.reconnected()

    @property
    def params(self) -> dict[str, str]:
        """The query of the next connection."""
        return {"after": str(self.after)}

    def reconnected(self) -> None:
        """A new connection begins: what an old one left unfinished is forgotten."""
        self._pieces: list[bytes] = []
        self._kept = 0
        self.trouble = None

    def feed(self, data: bytes) -> list[Entry]:
        """The entries that `data` completes. Raises `EngineProtocolError` for what is none.

        A type of event that this version does not know is skipped; its place is remembered.
        """
        found = self.take(data)
        if self.trouble is not None:
            raise self.trouble
        return found

    def take(self, data: bytes) -> list[Entry]:
        """The same, but what came before nonsense is given: `trouble` then says what is wrong."""
        found: list[Entry] = []
        try:
            if b"\n" not in data:
                self._keep(data)
                return found
            *blocks, rest = (b"".join((*self._pieces, data)) if self._pieces else data).split(
                b"\n\n"
            )
            self._pieces, self._kept = [], 0
            for block in blocks:
                self._block(block, found)
            if rest:
                self._keep(rest)
        except EngineProtocolError as error:
            self.trouble = error
        except ValueError as error:
            self.trouble = EngineProtocolError(f"the stream can't be read: {error}")
        return found

    def _keep(self, piece: bytes) -> None:
        self._kept += len(piece)
        if self._kept > _MOST:
            raise EngineProtocolError(f"an event is longer than {_MOST} bytes")
        self._pieces.append(piece)

    def _block(self, block: bytes, found: list[Entry]) -> None:
        # What a Penstock writes: one `id:` line and one `data:` line. All else goes the long way.
        head, _, data = block.partition(b"\ndata: ")
        if data and head[:4] == b"id: " and b"\n" not in data and b"\n" not in head:
            self._take(data, found)
            return
        decoder = sse.Decoder()
        for line in Lines(_MOST).feed(block + b"\n\n"):
            for received in decoder.feed(line):
                self._take(received.data, found)

    def _take(self, data: bytes, found: list[Entry]) -> None:
        entry = native.entry(data)
        seq = entry.seq if isinstance(entry, Entry) else entry
        if seq <= self.after:
            return
        if seq != self.after + 1:
            raise EngineProtocolError(f"event {seq} came after event {self.after}")
        self.after = seq
        if isinstance(entry, Entry):
            self.finished = isinstance(entry.event, TERMINAL)
            found.append(entry)
