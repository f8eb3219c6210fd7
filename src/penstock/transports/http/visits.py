"""One HTTP request and its answer."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qsl

from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope

from penstock.core.errors import InvalidRequestError, RequestTooLargeError
from penstock.core.ports import Answer
from penstock.transports.http.protocol import AbortedResponseError, connection_of

Headers = list[tuple[bytes, bytes]]

_SANE_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_UNSAFE: Final = re.compile(r"[^\x20-\x7e]")
_LONGEST_VALUE: Final = 2000
_DISCARD_SECONDS: Final = 2.0
_DISCARD_BYTES: Final = 64 * 1024 * 1024


class Visit:
    """What came, and the way to answer it once.

    `headers` have lower-case names; a name that came twice has its values joined by `, `.
    `extra` holds the headers that every answer to this visit carries, errors included.
    """

    __slots__ = (
        "_query_string",
        "_receive",
        "_send",
        "client",
        "connection",
        "extra",
        "headers",
        "method",
        "params",
        "path",
        "request_id",
        "started",
        "status",
    )

    def __init__(
        self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        self.method = scope["method"]
        self.path = scope["path"]
        self.client = (scope["client"] or ("", 0))[0]
        self.connection = connection_of(scope)
        self.headers = _headers(scope)
        self.params: Mapping[str, str] = {}
        self.started = False
        self.status = 0
        self._query_string = scope["query_string"]
        self._receive = receive
        self._send = send
        given = self.headers.get("x-request-id", "")
        self.request_id = given if _SANE_ID.fullmatch(given) else os.urandom(8).hex()
        self.extra: Headers = [(b"x-request-id", self.request_id.encode())]

    # ── what came ────────────────────────────────────────────────────────────────────────────────

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; of a repeated one the last."""
        if not self._query_string:
            return {}
        pairs = parse_qsl(
            self._query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=None
        )
        return dict(pairs)

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises `RequestTooLargeError` past `limit` bytes, at once when announced.

        Raises also what the protocol found wrong with it, such as `RequestTimeoutError`.
        """
        if int(self.headers.get("content-length") or 0) > limit:
            raise _too_large(limit)
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if self.connection.trouble is not None:
                raise self.connection.trouble
            if message["type"] != "http.request":
                raise AbortedResponseError
            pieces.append(message["body"])
            size += len(message["body"])
            if size > limit:
                raise _too_large(limit)
            if not message["more_body"]:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        """The body as it comes; raises as `body` does."""
        if int(self.headers.get("content-length") or 0) > limit:
            raise _too_large(limit)
        size = 0
        while True:
            message = await self._receive()
            if self.connection.trouble is not None:
                raise self.connection.trouble
            if message["type"] != "http.request":
                raise AbortedResponseError
            size += len(message["body"])
            if size > limit:
                raise _too_large(limit)
            if message["body"]:
                yield message["body"]
            if not message["more_body"]:
                return

    # ── what leaves ──────────────────────────────────────────────────────────────────────────────

    def name(self, header: bytes, value: str) -> None:
        """Adds a header to whatever the answer will be. What no header can hold becomes `?`."""
        safe = _UNSAFE.sub("?", value[:_LONGEST_VALUE])
        self.extra.append((header, safe.encode()))

    async def answer(self, answer: Answer) -> None:
        """A whole response."""
        headers = [(b"content-type", answer.content_type.encode())]
        headers += _encoded(answer.headers)
        headers.append((b"content-length", b"%d" % len(answer.body)))
        if self.connection.body_arrived:
            await self.start(answer.status, headers)
            await self.finish(answer.body)
            return
        # The client still sends. Closing at once would reset the connection, and the answer could
        # be lost on its way: what comes is read and thrown away for a while.
        headers.append((b"connection", b"close"))
        await self.start(answer.status, headers)
        await self.write(answer.body)
        await self._discard()
        await self.finish(b"")

    async def start(self, status: int, headers: Headers) -> None:
        """Sends status and headers, with `extra`."""
        self.started = True
        self.status = status
        await self._send(
            {"type": "http.response.start", "status": status, "headers": headers + self.extra}
        )

    async def write(self, data: bytes) -> None:
        """Sends a part of the body. Waits while the client is behind."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes) -> None:
        """Sends the last part, and the end, in one write."""
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def _discard(self) -> None:
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_DISCARD_SECONDS):
                while size < _DISCARD_BYTES and not self.connection.body_arrived:
                    message = await self._receive()
                    if message["type"] != "http.request" or self.connection.trouble is not None:
                        return
                    size += len(message["body"])


def _headers(scope: HTTPScope) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _encoded(headers: Mapping[str, str]) -> Headers:
    return [
        (name.lower().encode(), _UNSAFE.sub("?", value).encode()) for name, value in headers.items()
    ]


def _too_large(limit: int) -> RequestTooLargeError:
    return RequestTooLargeError(f"the body is larger than {limit} bytes")


def number(text: str, name: str, least: float, most: float) -> float:
    """A query parameter's number. Raises `InvalidRequestError` naming the parameter."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise InvalidRequestError(f"{name} must be a number from {least:g} to {most:g}", param=name)
    return value


def whole_number(text: str, name: str, least: int, most: int) -> int:
    """The same for an integer."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise InvalidRequestError(f"{name} must be an integer from {least} to {most}", param=name)
    return int(text)
