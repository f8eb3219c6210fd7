"""What `generate_stream` gives: a generator of chunks that can also be wound back and forth."""

from bisect import bisect_right
from collections.abc import Generator
from types import TracebackType

from typing_extensions import override

from penstock.ollama_client.shapes import StreamChunk
from penstock.ollama_client.source import Source


class ChunkStream(Generator[StreamChunk, None, None]):
    """One answer as it arrives. Nothing is sent before the first chunk is asked for.

    A position is a number of characters from the beginning of the answer's text, all of which is
    kept. Closing, leaving the program's loop, or dropping the stream closes its connection.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        # It must not refer back to here: dropping this has to end it at once.
        self._chunks = source.chunks()
        self._texts: list[str] = []
        self._starts: list[int] = []
        self._length = 0
        self._at = 0
        self._end: StreamChunk | None = None
        self._over = False

    @property
    def stream_id(self) -> str | None:
        """Its name, where the server is a Penstock and has answered: see `open_stream`."""
        return self._source.stream

    @property
    def text(self) -> str:
        """All that has arrived, also after a failure and also what was skipped."""
        return "".join(self._texts)

    def tell(self) -> int:
        """The position of the next chunk."""
        return self._at

    def seek(self, position: int) -> None:
        """The next chunk begins at `position`: back in what has been read, or ahead.

        What lies ahead of all that has arrived is waited for by the next chunk. Past the end comes
        the last chunk, which is empty. Raises `ValueError` below 0.
        """
        if position < 0:
            raise ValueError(f"position: 0 or more, not {position}")
        self._at = position
        self._over = False

    @override
    def __next__(self) -> StreamChunk:
        if self._over:
            raise StopIteration
        while True:
            if self._at < self._length:
                return self._kept()
            if self._end is not None:
                self._over = True
                return self._end
            chunk = self._read()
            if chunk is not None:
                return chunk

    def _kept(self) -> StreamChunk:
        """The rest of the piece that the position is in."""
        n = bisect_right(self._starts, self._at) - 1
        text = self._texts[n][self._at - self._starts[n] :]
        self._at += len(text)
        return StreamChunk(text, False)

    def _read(self) -> StreamChunk | None:
        """One chunk more; what of it lies at the position or behind, if anything."""
        chunk = next(self._chunks, None)
        if chunk is None:  # closed
            raise StopIteration
        begun = self._length
        if chunk.text:
            self._starts.append(begun)
            self._texts.append(chunk.text)
            self._length += len(chunk.text)
        if chunk.done:
            self._end = StreamChunk("", True, chunk.error)
        if self._at > begun:
            if self._at >= self._length:
                return None
            chunk = StreamChunk(chunk.text[self._at - begun :], chunk.done, chunk.error)
        self._at = self._length
        self._over = chunk.done
        return chunk

    @override
    def send(self, value: None, /) -> StreamChunk:
        return next(self)

    @override
    def throw(
        self,
        typ: type[BaseException] | BaseException,
        val: object = None,
        tb: TracebackType | None = None,
        /,
    ) -> StreamChunk:
        """Closes the stream, and raises."""
        self.close()
        error = typ if isinstance(typ, BaseException) else typ()
        raise error.with_traceback(tb)

    @override
    def close(self) -> None:
        """Closes its connection, and gives no chunk more. What the server does is its policy."""
        self._chunks.close()
        self._over = True
