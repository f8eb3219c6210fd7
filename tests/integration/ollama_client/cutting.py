"""A proxy on the loopback between a client and a server, which spoils what the server says."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Literal

Fault = Literal["cut", "reset", "stall", "garble", "dribble", "none"]


class Proxy:
    """Each connection has the next fault, the last one again and again.

    A fault is `(what, after)`: after that many bytes of the server's, which pass.
    """

    def __init__(self, port: int, faults: Sequence[tuple[Fault, int]]) -> None:
        self._to = port
        self._faults = list(faults)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._server.getsockname()[1]
        self.connections = 0
        self.asked: list[bytes] = []
        self._run(self._accept)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _run(self, what: Callable[[], None]) -> None:
        threading.Thread(target=what, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            fault = self._faults[min(self.connections, len(self._faults) - 1)]
            self.connections += 1
            far = socket.create_connection(("127.0.0.1", self._to))
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open += [near, far]
            self._run(lambda near=near, far=far: self._ask(near, far))  # type: ignore[misc]
            self._run(lambda near=near, far=far, fault=fault: self._tell(near, far, *fault))  # type: ignore[misc]

    def _ask(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                self.asked.append(data)
                far.sendall(data)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)

    def _tell(self, near: socket.socket, far: socket.socket, what: Fault, left: int) -> None:
        with contextlib.suppress(OSError):
            self._pass_on(near, far, what, left)
        # The other thread is in `recv`: while it is, closing alone would tell nobody.
        for one in (near, far):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RD if what == "reset" else socket.SHUT_RDWR)
            one.close()

    def _pass_on(self, near: socket.socket, far: socket.socket, what: Fault, left: int) -> None:
        while data := far.recv(65536):
            if what == "dribble":
                for n in range(len(data)):
                    near.sendall(data[n : n + 1])
                continue
            if what == "none" or len(data) < left:
                near.sendall(data)
                left -= len(data)
                continue
            near.sendall(data[:left])
            if what == "garble":
                near.sendall(b"\x00" * (len(data) - left))
                left = 1 << 40
                continue
            if what == "stall":
                while far.recv(65536):
                    pass
            if what == "reset":
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
