"""A real server in a process of its own, and an upstream that does what it is told."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

ROOT = Path(__file__).parents[2]


_PORTS = range(10_000, 30_000)
_STEPS = count(secrets.randbelow(len(_PORTS)))


def free_port() -> int:
    """A port that nobody listens on now.

    Not one that the system gives to outgoing connections, nor one that this process was given
    before; another process looks elsewhere. So it is still free when it is listened on.
    """
    for n in _STEPS:
        port = _PORTS[n % len(_PORTS)]
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


@dataclass
class Serving:
    """One `penstock serve`. `said` is all that it wrote so far."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def streams(self) -> Path:
        return self.folder / "streams"

    @property
    def said(self) -> str:
        return (self.folder / "said.log").read_text()

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """As Ctrl-C does; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


def start(folder: Path, config: str, *, environment: dict[str, str] | None = None) -> Serving:
    """Starts a server on `config` (TOML without `[server] port` and `[streams] folder`)."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.toml"
    path.write_text(config)
    own = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "PENSTOCK_SERVER__PORT": str(port),
        "PENSTOCK_STREAMS__FOLDER": str(folder / "streams"),
    }
    command = [sys.executable, "-m", "penstock.cli", "serve", "--config", str(path)]
    with (folder / "said.log").open("ab") as said:
        process = subprocess.Popen(
            command, env=own | (environment or {}), stdout=said, stderr=said, cwd=folder
        )
    serving = Serving(folder, port, process)
    _wait(serving)
    return serving


def _wait(serving: Serving) -> None:
    for _ in range(600):
        if serving.process.poll() is not None:
            raise AssertionError(f"the server stopped at its start: {serving.said}")
        try:
            with urllib.request.urlopen(serving.url + "/ready", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.05)
    serving.kill()
    raise AssertionError(f"the server was not ready in 30 s: {serving.said}")


@contextmanager
def serve(
    folder: Path, config: str, *, environment: dict[str, str] | None = None
) -> Iterator[Serving]:
    """The same, stopped at the end."""
    serving = start(folder, config, environment=environment)
    try:
        yield serving
    finally:
        if serving.process.poll() is None:
            serving.stop()


@dataclass
class Upstream:
    """A loopback upstream that answers by scripts, for faults that no real one shows.

    A script is a sequence of pieces: bytes are sent, a number waits that many seconds, `"reset"`
    resets the connection, `"stall"` waits until the peer is gone. `gone` is set when a peer
    has left; `requests` holds what was asked.
    """

    scripts: Sequence[Sequence[bytes | float | str]]
    requests: list[bytes] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)
    gone_at: float = 0.0

    def __post_init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._turn = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)  # ends the thread that accepts
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = _read_request(connection)
            if request.startswith(b"GET "):
                body = b'{"object":"list","data":[{"id":"scripted","object":"model"}]}'
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
                    b"content-length: %d\r\n\r\n%s" % (len(body), body)
                )
                return
            self.requests.append(request)
            script = self.scripts[min(self._turn, len(self.scripts) - 1)]
            self._turn += 1
            self._play(connection, script)

    def _play(self, connection: socket.socket, script: Sequence[bytes | float | str]) -> None:
        try:
            for piece in script:
                if isinstance(piece, bytes):
                    connection.sendall(piece)
                elif piece == "reset":
                    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return
                elif piece == "stall":
                    connection.settimeout(60)
                    while connection.recv(65536):
                        pass
                    raise ConnectionResetError
                elif isinstance(piece, float | int) and _gone_within(connection, piece):
                    raise ConnectionResetError
        except OSError:
            self.gone_at = time.monotonic()
            self.gone.set()


def _gone_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        return connection.recv(65536) == b""
    except TimeoutError:
        return False
    finally:
        connection.settimeout(None)


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        got = connection.recv(65536)
        if not got:
            return data
        data += got
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
END = b"0\r\n\r\n"


def piece(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def said(text: str) -> bytes:
    """One content chunk of OpenAI's stream, as a piece."""
    return piece(
        b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"scripted",'
        b'"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
        % text.encode()
    )


FINISH = piece(
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"scripted",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
