"""Stands between a client and a gateway and does to followed streams what networks do."""

import random
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

Fault = Literal["drop", "stall", "dribble", "garble", "reset"]
RESET = struct.pack("ii", 1, 0)
AWAY = b"HTTP/1.1 503 Away\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class FaultProxy:
    """Each connection that follows a stream passes `events` whole events, then suffers `fault`:
    by turns at the end of an event and within the next one.

    `away`: as many requests are told that there is no server.
    `cut_posts`: as many posts are passed on, and their connection is cut before any answer.
    `cut_pictures`: as many answers with a picture end before their last bytes.
    `lucky`: instead, connections pass random numbers of bytes, of this generator.
    """

    def __init__(
        self,
        port: int,
        fault: Fault,
        *,
        events: int = 1,
        away: int = 0,
        cut_posts: int = 0,
        cut_pictures: int = 0,
        lucky: random.Random | None = None,
    ) -> None:
        self._upstream = port
        self._fault = fault
        self._events = events
        self._away = away
        self._cut_posts = cut_posts
        self._cut_pictures = cut_pictures
        self._lucky = lucky
        self.faults = 0
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._upstream)) as upstream:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(OSError):
                head = self._request(client, upstream)
                if not head:
                    return
                if self._away > 0:
                    self._away -= 1
                    client.sendall(AWAY)
                    return
                if head.startswith(b"POST") and self._cut_posts > 0:
                    self._cut_posts -= 1
                    upstream.recv(1)
                    return
                if b"/blobs/" in head:
                    self._picture(client, upstream)
                elif head.startswith(b"GET /v1/streams/"):
                    self._follow(client, upstream)
                else:
                    while data := upstream.recv(65536):
                        client.sendall(data)

    def _request(self, client: socket.socket, upstream: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            got = client.recv(65536)
            if not got:
                return b""
            data += got
        head, _, body = data.partition(b"\r\n\r\n")
        self.requests.append(head)
        length = next(
            (
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            ),
            0,
        )
        while len(body) < length:
            body += client.recv(65536)
        upstream.sendall(head + b"\r\nConnection: close\r\n\r\n" + body)
        return head

    def _picture(self, client: socket.socket, upstream: socket.socket) -> None:
        data = b""
        while got := upstream.recv(65536):
            data += got
        if self._cut_pictures > 0:
            self._cut_pictures -= 1
            self.faults += 1
            data = data[:-5]
        client.sendall(data)

    def _follow(self, client: socket.socket, upstream: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += upstream.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        client.sendall(head + b"\r\n\r\n")
        if self._fault == "dribble":
            self._dribble(client, upstream, body)
            return
        while (place := self._place(body)) is None:
            got = upstream.recv(65536)
            if not got:
                client.sendall(body)
                return
            body += got
        self.faults += 1
        client.sendall(body[:place])
        FAULTS[self._fault](client, upstream, body[place:])

    def _place(self, body: bytes) -> int | None:
        """Where the fault is, once that much has come."""
        if self._lucky is not None:
            place = self._lucky.randrange(200, 4000)
            return place if len(body) > place else None
        at = 0
        for _ in range(self._events):
            at = body.find(b"\n\n", at) + 2
            if at < 2:
                return None
        at += (self.faults % 2) * 30
        return at if len(body) > at else None

    def _dribble(self, client: socket.socket, upstream: socket.socket, data: bytes) -> None:
        while data := data or upstream.recv(65536):
            for n in range(len(data)):
                client.sendall(data[n : n + 1])
            self.faults += 1
            data = b""


def _drop(client: socket.socket, upstream: socket.socket, rest: bytes) -> None:
    """The connection is closed as if all were well."""


def _reset(client: socket.socket, upstream: socket.socket, rest: bytes) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def _stall(client: socket.socket, upstream: socket.socket, rest: bytes) -> None:
    client.settimeout(30)
    client.recv(1)


def _garble(client: socket.socket, upstream: socket.socket, rest: bytes) -> None:
    client.sendall(b"\xff\x00}garble" + rest[9:])
    while data := upstream.recv(65536):
        client.sendall(data)


FAULTS: dict[str, Callable[[socket.socket, socket.socket, bytes], None]] = {
    "drop": _drop,
    "reset": _reset,
    "stall": _stall,
    "garble": _garble,
}
