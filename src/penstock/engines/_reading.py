"""A streamed answer's bytes as events or lines: everything that one read holds, at once."""

from penstock.core.errors import EngineProtocolError
from penstock.wire import json
from penstock.wire.lines import Lines
from penstock.wire.sse import Decoder, ServerSentEvent

_PREFIX = b"data: "
_BOM = b"\xef\xbb\xbf"


class Events:
    """Server-sent events, however the bytes are cut.

    A read that holds whole events of one `data:` line each, which is what servers send, is split
    without looking at its lines; anything else goes through the general decoder, until a read ends
    with an event. `max_line` bounds an event of several reads, in bytes.
    """

    def __init__(self, max_line: int = 16 * 1024 * 1024) -> None:
        self._lines = Lines(max_line)
        self._decoder = Decoder()
        self._clean = False  # at the very beginning a byte order mark may come
        self._begun = False
        self._fresh = True

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that `data` completes. Raises `EngineProtocolError` for an endless line."""
        # One event in a read, the usual case of a model that is not far ahead.
        alone = self._clean and data.count(b"\n") == 2 and b"\r" not in data
        if alone and data[:6] == _PREFIX and data[-2:] == b"\n\n":
            return [ServerSentEvent(data[6:-2])]
        if (
            (self._clean or self._fresh)
            and data.startswith(_PREFIX)
            and data.endswith(b"\n\n")
            and b"\r" not in data
        ):
            blocks = data[:-2].split(b"\n\n")
            if data.count(b"\n") == 2 * len(blocks) and all(
                block.startswith(_PREFIX) for block in blocks
            ):
                self._clean = self._begun = True
                self._fresh = False
                return [ServerSentEvent(block[6:]) for block in blocks]
        return self._slowly(data)

    def _slowly(self, data: bytes) -> list[ServerSentEvent]:
        self._fresh = False
        found: list[ServerSentEvent] = []
        line = b"-"
        try:
            for line in self._lines.feed(data):
                if not self._begun:
                    self._begun = True
                    line = line.removeprefix(_BOM)
                found += self._decoder.feed(line)
        except ValueError as error:
            raise EngineProtocolError(f"the upstream sent {error}") from error
        # An empty line that ends with LF: nothing of it is left in the lines or in the decoder.
        self._clean = line == b"" and data.endswith(b"\n")
        return found

    def end(self) -> list[ServerSentEvent]:
        """The last event, if the stream ended before the blank line after it.

        Cut in the middle it is dropped, as the HTML standard has it.
        """
        found = [*self._decoder.feed(self._lines.rest), *self._decoder.feed(b"")]
        return [event for event in found if event.data == b"[DONE]" or json.is_json(event.data)]


class JsonLines:
    """NDJSON, however the bytes are cut. Blank lines are none."""

    def __init__(self) -> None:
        self._lines = Lines()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes. Raises `EngineProtocolError` for an endless line."""
        try:
            return [line for line in self._lines.feed(data) if line and not line.isspace()]
        except ValueError as error:
            raise EngineProtocolError(f"the upstream sent {error}") from error

    def end(self) -> list[bytes]:
        """The last line, if the stream ended before its end; dropped when it was cut."""
        rest = self._lines.rest
        return [rest] if rest and json.is_json(rest) else []
