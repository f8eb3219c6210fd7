"""One native stream being read, across as many connections as it takes. No I/O."""

from typing import Final
from urllib.parse import quote

from penstock.client._blocks import Blocks
from penstock.core.errors import EngineProtocolError
from penstock.core.events import BEGINNING, TERMINAL, Entry, Seq
from penstock.wire import native

_MOST: Final = 64 * 1024 * 1024
"""Bytes of one event that is never finished, before it is given up."""


class Reading:
    """Knows what to ask for, what has come, and whether that is all.

    Every entry is given out once and in order, however often the connection breaks. `brought`: this
    connection gave an event, new or not.
    """

    def __init__(self, stream: str, after: Seq = BEGINNING) -> None:
        self.path = f"/streams/{quote(stream, safe='')}"
        self.after = after
        self.finished = False
        self.trouble: EngineProtocolError | None = None
        self.brought = False
        self.reconnected()

    @property
    def params(self) -> dict[str, str]:
        """The query of the connection that begins."""
        return {"after": str(self._from)}

    def reconnected(self) -> None:
        """A new connection begins: what an old one left unfinished is forgotten.

        Where that brought nothing, the last event that we have is asked for again: were it the
        stream's end, nothing would follow it, and nothing would say so.
        """
        self._from = self.after if self.brought else max(BEGINNING, self.after - 1)
        self.brought = False
        self._blocks = Blocks(_MOST)
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
            for said in self._blocks.feed(data):
                self._take(said, found)
        except EngineProtocolError as error:
            self.trouble = error
        except ValueError as error:
            self.trouble = EngineProtocolError(f"the stream can't be read: {error}")
        return found

    def _take(self, data: bytes, found: list[Entry]) -> None:
        entry = native.entry(data)
        seq = entry.seq if isinstance(entry, Entry) else entry
        self.brought = True
        if seq <= self.after:
            if seq == self.after and isinstance(entry, Entry):
                self.finished = isinstance(entry.event, TERMINAL)
            return
        if seq != self.after + 1:
            raise EngineProtocolError(f"event {seq} came after event {self.after}")
        self.after = seq
        if isinstance(entry, Entry):
            self.finished = isinstance(entry.event, TERMINAL)
            found.append(entry)
