"""The chunked coding of HTTP/1.1 (RFC 9112, section 7.1), read many chunks at a time. No I/O."""

from typing import Final

_DIGITS: Final = b"0123456789abcdefABCDEF"
_LONGEST_LINE: Final = 16 * 1024


class Chunked:
    """Feed it a body as it comes, get what it holds. `finished`: the last chunk has come."""

    def __init__(self) -> None:
        self._held = b""
        self._left = 0
        self._after = False
        self._trailers = False
        self.finished = False

    @property
    def rest(self) -> bytes:
        """What came after the end: nothing, from a server that keeps to the protocol."""
        return self._held

    def feed(self, data: bytes) -> bytes:
        """The bytes that `data` brings. Raises `ValueError` for what is no such coding."""
        data = self._held + data if self._held else data
        found: list[bytes] = []
        at, size = 0, len(data)
        while not self._trailers:
            if self._left:
                piece = data[at : at + self._left]
                found.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
            if self._after:
                if size - at < 2:
                    break
                if data[at : at + 2] != b"\r\n":
                    raise ValueError("a chunk is longer than it said")
                at += 2
                self._after = False
            end = _line_end(data, at)
            if end < 0:
                break
            self._begin(data[at:end])
            at = end + 2
        if self._trailers:
            at = self._skipped(data, at)
        self._held = data[at:]
        return b"".join(found)

    def _begin(self, line: bytes) -> None:
        digits = line.partition(b";")[0].strip()
        if not digits or digits.strip(_DIGITS):
            raise ValueError(f"{line[:20]!r} is no size of a chunk")
        self._left = int(digits, 16)
        self._after = self._left > 0
        self._trailers = self._left == 0

    def _skipped(self, data: bytes, at: int) -> int:
        while not self.finished:
            end = _line_end(data, at)
            if end < 0:
                break
            self.finished = end == at
            at = end + 2
        return at


def _line_end(data: bytes, at: int) -> int:
    end = data.find(b"\r\n", at)
    if end < 0 and len(data) - at > _LONGEST_LINE:
        raise ValueError("a line of the coding has no end")
    return end
