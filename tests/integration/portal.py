"""What the prompt portal's page does with a stream, and plain clients of the session chat."""

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import httpx2 as httpx

_READ = 4 * 1024 * 1024
"""More than ever waits in a socket: where a read stops must be the server's doing."""

Events = list[dict[str, object]]


@dataclass
class Heard:
    """What the page's three callbacks were told."""

    chunks: list[str] = field(default_factory=list)
    completed: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.chunks)


def page_reads(reads: Iterator[bytes], heard: Heard) -> None:
    """A port, line by line, of `chatStream` in the portal's `frontend/src/api.ts`.

    Not its code but its rules (specification 2.11): each read is decoded by itself with a streaming
    decoder and split on newlines with no carry-over; lines that begin with `data: ` are parsed; of
    an event the first truthy of `error`, `done`, `content` counts; a parse failure is an error and
    the rest of the stream is abandoned.
    """
    try:
        for read in reads:
            for line in read.decode().split("\n"):
                if not line.startswith("data: "):
                    continue
                data = json.loads(line[6:])
                if data.get("error"):
                    heard.errors.append(str(data["error"]))
                elif data.get("done"):
                    heard.completed += 1
                elif data.get("content"):
                    heard.chunks.append(str(data["content"]))
    except ValueError as error:
        heard.errors.append(f"SyntaxError: {error}")


def socket_reads(
    port: int, path: str, body: Mapping[str, object], headers: Mapping[str, str] = {}
) -> Iterator[bytes]:
    """The pieces of a response's body, one a `recv`, as a browser's `fetch` hands them on.

    Chunked coding is undone within each piece; a chunk that a piece does not hold whole is an
    error, so whoever reads these reads what one `recv` held and nothing else. What a slow network
    makes of the server's writes is not shown here: that every write holds whole events is.
    """
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, f"Content-Length: {len(data)}", "", ""]).encode()
    with socket.socket() as connection:
        # A window that is never full: a full one may cut what it lets through.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _READ)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", port))
        connection.sendall(head + data)
        got = connection.recv(_READ)
        while b"\r\n\r\n" not in got:
            got += connection.recv(_READ)
        answered, _, got = got.partition(b"\r\n\r\n")
        assert answered.startswith(b"HTTP/1.1 200"), (answered, got)
        while True:
            if got:
                body_part, ended = _unchunked(got)
                if body_part:
                    yield body_part
                if ended:
                    return
            got = connection.recv(_READ)
            assert got, "the connection broke"


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    found = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        assert length == 0 or len(rest) >= length + 2, "a read cut a chunk"
        if length == 0:
            return found, True
        found += rest[:length]
        data = rest[length + 2 :]
    return found, False


def events(text: str) -> Events:
    """The events of a whole stream."""
    blocks = text.split("\n\n")
    assert blocks.pop() == ""
    lines = [next(x for x in block.split("\n") if x.startswith("data: ")) for block in blocks]
    return [json.loads(line[6:]) for line in lines]


def said(found: Events) -> str:
    return "".join(str(event.get("content", "")) for event in found)


OPEN: list[httpx.Client] = []
"""For the fixture that closes them."""


class Client:
    """One key's client of one server."""

    def __init__(self, url: str, key: str = "", timeout: float = 60) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = httpx.Client(base_url=url + "/api/llm", headers=headers, timeout=timeout)
        OPEN.append(self.http)

    def say(self, session: str, message: str, **more: object) -> httpx.Response:
        """One message, answered whole."""
        body = {"session_id": session, "message": message, **more}
        return self.http.post("/chat/session", json=body)

    def stream(self, session: str, message: str, **more: object) -> Events:
        """One message, answered as a stream."""
        body = {"session_id": session, "message": message, **more}
        answer = self.http.post("/chat/session/stream", json=body)
        assert answer.status_code == 200, answer.text
        return events(answer.text)

    def history(self, session: str) -> list[dict[str, str]]:
        """The messages of a session."""
        answer = self.http.get(f"/chat/session/{session}/history")
        assert answer.status_code == 200, answer.text
        return cast("list[dict[str, str]]", answer.json()["messages"])
