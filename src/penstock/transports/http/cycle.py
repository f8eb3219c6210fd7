"""How a response's bytes leave: head and first frame in one write, and HTTP/1.0 without chunks.

uvicorn writes the head by itself, which is a system call more for every answer, and sends chunks to
clients of HTTP/1.0, which RFC 9112 (6.1) forbids. Headers come from our own code, which has already
made them printable, so they are not checked again.
"""

import asyncio
import http
from typing import Final

from typing_extensions import override
from uvicorn._types import ASGISendEvent, HTTPResponseBodyEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    for status in http.HTTPStatus
}


class Cycle(RequestResponseCycle):
    """One response. Made by changing the class of uvicorn's own, which its protocol constructs."""

    _head = b""
    _until_close = False

    @override
    async def send(self, message: ASGISendEvent) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self._start(message)
        elif message["type"] == "http.response.body" and not self.response_complete:
            self._body(message)

    def flush(self) -> None:
        """Writes the head, if it still waits for a body to leave with."""
        head, self._head = self._head, b""
        if head and not self.transport.is_closing():
            self.transport.write(head)

    def _start(self, message: HTTPResponseStartEvent) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        lines = [_LINES[message["status"]]]
        for name, value in (*self.default_headers, *message["headers"]):
            if name == b"content-length":
                self.chunked_encoding = False
            elif name == b"connection" and value == b"close":
                self.keep_alive = False
                continue
            lines += (name, b": ", value, b"\r\n")
        if self.chunked_encoding is None:
            self._frame(message["status"], lines)
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        self._head = b"".join(lines)
        asyncio.get_running_loop().call_soon(self.flush)

    def _frame(self, status: int, lines: list[bytes]) -> None:
        """A body of unknown length: in chunks, or to the end of the connection."""
        if self.scope["method"] == "HEAD" or status in (204, 304):
            self.chunked_encoding = False
        elif self.scope["http_version"] == "1.0":
            self.chunked_encoding = False
            self.keep_alive = False
        else:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")

    def _body(self, message: HTTPResponseBodyEvent) -> None:
        body = message["body"]
        last = not message["more_body"]
        head, self._head = self._head, b""
        if self.scope["method"] == "HEAD":
            data = head
        elif not self.chunked_encoding:
            data = head + body
        elif body:
            end = b"\r\n0\r\n\r\n" if last else b"\r\n"
            data = b"%b%x\r\n%b%b" % (head, len(body), body, end)
        else:
            data = head + b"0\r\n\r\n" if last else head
        if data:
            self.transport.write(data)
        if last:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()
