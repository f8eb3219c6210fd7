"""Bytes to lines in linear time, however the bytes are cut. Lines end at LF, CRLF or CR only."""

from collections.abc import Iterator


class Lines:
    """Feed it bytes, get whole lines without their ends; `rest` is what came after the last end.

    `splitlines` of `str` must never be used on a stream: it also splits at U+2028, U+2029 and
    U+0085.
    `max_line` (bytes) bounds what a peer that never ends a line can make us keep.
    """

    def __init__(self, max_line: int = 16 * 1024 * 1024) -> None:
        self._pieces: list[bytes] = []
        self._kept = 0
        self._max_line = max_line
        self._after_cr = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """All lines that `data` completes. Raises `ValueError` when one is longer than
        `max_line`.
        """
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == 0x0A:
                data = data[1:]
        if not data:
            return
        self._after_cr = data[-1] == 0x0D
        # bytes.splitlines splits at LF, CR and CRLF only.
        lines = data.splitlines()
        ended = data[-1] in b"\r\n"
        for n, line in enumerate(lines):
            if n == len(lines) - 1 and not ended:
                self._keep(line)
            elif self._pieces:
                self._pieces.append(line)
                line = b"".join(self._pieces)
                self._pieces.clear()
                self._kept = 0
                yield line
            else:
                yield line

    def _keep(self, piece: bytes) -> None:
        self._kept += len(piece)
        if self._kept > self._max_line:
            raise ValueError(f"a line is longer than {self._max_line} bytes")
        self._pieces.append(piece)

    @property
    def rest(self) -> bytes:
        """The unfinished last line."""
        return b"".join(self._pieces)
