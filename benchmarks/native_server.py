"""A recorded stream by the native routes, as fast as it is read: what a Penstock's clients read.

One process, one connection at a time in a thread; every event is a chunk of its own, as from a
model. `python -m benchmarks.native_server PORT CHUNKS BYTES` (bytes of text in each event).
"""

import socket
import sys
import threading

from penstock.core.events import Done, Entry, Event, Seq, Start, TextDelta
from penstock.wire import native, sse

_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\npenstock-stream: recorded\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_END = b"0\r\n\r\n"
_AT_ONCE = 64


def _chunk(event: Event, seq: int) -> bytes:
    (frame,) = native.frames([Entry(Seq(seq), seq, event)])
    data = sse.frame([frame], [str(seq)])
    return b"%x\r\n%s\r\n" % (len(data), data)


class Recorded:
    """The chunks of a stream, made while they are sent: memory does not hold them."""

    def __init__(self, chunks: int, size: int) -> None:
        self._chunks = chunks
        self._text = "x" * size

    def send(self, connection: socket.socket) -> None:
        """All of it."""
        start = Start(stream="recorded", asked="m", binding="b", model="m", created=0)
        connection.sendall(_HEAD + _chunk(start, 1))
        event = TextDelta(part=1, text=self._text)
        for first in range(2, self._chunks + 2, _AT_ONCE):
            last = min(first + _AT_ONCE, self._chunks + 2)
            connection.sendall(b"".join([_chunk(event, seq) for seq in range(first, last)]))
        connection.sendall(_chunk(Done(reason="stop"), self._chunks + 2) + _END)


def _serve(connection: socket.socket, recorded: Recorded) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    held = b""
    with connection:
        while True:
            while b"\r\n\r\n" not in held:
                got = connection.recv(65536)
                if not got:
                    return
                held += got
            head, _, held = held.partition(b"\r\n\r\n")
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            while len(held) < length:
                held += connection.recv(65536)
            held = held[length:]
            if head.startswith(b"GET"):
                recorded.send(connection)
            else:
                connection.sendall(_HEAD + _END)


def main() -> None:
    """Serves until it is stopped."""
    port, chunks, size = (int(word) for word in sys.argv[1:4])
    recorded = Recorded(chunks, size)
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, recorded), daemon=True).start()


if __name__ == "__main__":
    main()
