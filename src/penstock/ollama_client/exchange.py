"""One request and its answer on a connection, every wait of which a clock ends."""

import io
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from types import TracebackType
from typing import Final, Self

from typing_extensions import Buffer, override

from penstock.ollama_client.clocks import Clock
from penstock.ollama_client.troubles import TroubleError, closed, cut

_PIECE: Final = 65536
_MOST_OF_A_REFUSAL: Final = 65536
_END_SECONDS: Final = 0.2
"""How long the end of a body that has said all is waited for, so that its connection is kept."""


class Wire:
    """What `http.client` takes for a socket."""

    def __init__(self, found: socket.socket) -> None:
        self.socket = found
        self.shut = False
        self._clock: Clock | None = None
        self._most: float | None = None

    def begin(self, clock: Clock) -> None:
        """Another request's clock."""
        self._clock = clock
        self._most = None

    def limit(self, seconds: float) -> None:
        """Longer silence than this, whatever the clock allows, is a dead connection."""
        self._most = seconds

    def sendall(self, data: bytes) -> None:
        """Called by `http.client`."""
        self._wait()
        self.socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Called by `http.client`."""
        return io.BufferedReader(_Incoming(self))

    def close(self) -> None:
        """Called by `http.client` before it has read the body: nothing is closed by it."""

    def receive(self, buffer: Buffer) -> int:
        """As much as is there, waited for no longer than the clock allows."""
        self._wait()
        try:
            return self.socket.recv_into(buffer)
        except TimeoutError:
            if self._clock is not None:
                self._clock.left()
            raise

    def shut_down(self) -> None:
        """Ends a read in another thread. The socket itself stays its reader's to close."""
        self.shut = True
        with suppress(OSError):
            # Not the method of a TLS socket, which takes the connection apart under its reader.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def destroy(self) -> None:
        """Closes the connection."""
        self.socket.close()

    def _wait(self) -> None:
        left = self._clock.left() if self._clock is not None else None
        if self._most is not None:
            left = self._most if left is None else min(left, self._most)
        self.socket.settimeout(left)


class _Incoming(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer, /) -> int:
        return self._wire.receive(buffer)


class Link:
    """A connection that is open, and where it leads.

    `proxied`: what a proxy wants to be told, where one is asked for whole addresses.
    """

    def __init__(
        self,
        connection: HTTPConnection,
        key: tuple[str, str, int | None],
        proxied: Mapping[str, str] | None,
    ) -> None:
        self.connection = connection
        self.key = key
        self.proxied = proxied
        self.wire = Wire(connection.sock)
        connection.sock = self.wire


class Exchange:
    """An answer whose head has come; a context manager, which returns its connection."""

    def __init__(
        self, link: Link, response: HTTPResponse, give_back: Callable[[Link, bool], None]
    ) -> None:
        self._link = link
        self._response = response
        self._give_back = give_back
        self.status = response.status
        self.said_all = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._give_back(self._link, self._ended() and not self._response.will_close)
        self._response.close()

    def header(self, name: str) -> str | None:
        """A header of the answer."""
        return self._response.getheader(name)

    def limit_silence(self, seconds: float) -> None:
        """For servers that promise a sign of life: longer silence is a dead connection."""
        self._link.wire.limit(seconds)

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes. Raises `TroubleError` where it breaks off."""
        while data := self._read():
            yield data
        if self._link.wire.shut:
            raise closed()
        if self._response.length:
            raise cut(f"{self._response.length} bytes are missing", self.status)
        self._response.read()  # nothing: `read1` does not note that a body of known length is over

    def refusal(self) -> bytes:
        """The body of an answer that is none, as far as it is of use."""
        found = b""
        with suppress(TroubleError):
            for data in self.pieces():
                found += data
                if len(found) > _MOST_OF_A_REFUSAL:
                    break
        return found

    def _read(self) -> bytes:
        try:
            return self._response.read1(_PIECE)
        except (HTTPException, OSError, ValueError) as error:
            if self._link.wire.shut:
                raise closed() from error
            raise cut(str(error) or type(error).__name__) from error

    def _ended(self) -> bool:
        if self.said_all and not self._response.isclosed():
            self._link.wire.begin(Clock(_END_SECONDS))
            with suppress(TroubleError):
                self._read()
        return self._response.isclosed()
