"""HTTP/1.1 over plain connections: the cheap carrier for upstreams that need no TLS and no proxy.

aiohttp costs as much per chunk as all the rest of a relay together (see `docs/adr/0006`). Local
engines speak plain HTTP and stream tokens in a chunk each, so they are read here, on
`asyncio.Protocol` and httptools; everything else goes through aiohttp, behind the same `Reply`.
"""

import asyncio
import socket
import zlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult

import httptools
from multidict import CIMultiDict
from typing_extensions import override

from penstock.core.errors import EngineProtocolError
from penstock.core.ports import Timeouts

_FULL: Final = 256 * 1024
"""Bytes that wait to be read at which the upstream is made to wait."""
_MOST_UNZIPPED: Final = 1024 * 1024
_MOST_HEADERS: Final = 200
_MOST_HEADER_BYTES: Final = 64 * 1024


class Exchange:
    """One request's answer on a connection, as it comes."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._waiter: asyncio.Future[None] | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._error: Exception | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.ended = False

    async def opened(self) -> None:
        """Waits for status and headers. Raises what broke the connection."""
        while not self.status and not self._error:
            await self._wait()
        if not self.status and self._error is not None:
            raise self._error

    async def readany(self) -> bytes:
        """All that has arrived, waiting for at least one byte; empty at the end."""
        while not self._parts:
            if self.ended:
                return b""
            if self._error is not None:
                raise self._error
            self._waiter = self._connection.loop.create_future()
            await self._waiter
        parts = self._parts
        self._parts = []
        if self._size > _FULL:
            self._connection.resume()
        self._size = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _wait(self) -> None:
        self._waiter = self._connection.loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Status and headers are here."""
        self.status = status
        self.headers = headers
        self._wake()

    def feed(self, parts: list[bytes]) -> None:
        """A piece of the body is here."""
        self._parts += parts
        self._size += sum(map(len, parts))
        if self._size > _FULL:
            self._connection.pause()
        self._wake()

    def end(self) -> None:
        """The body is whole."""
        self.ended = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """No more will come, though more was announced. What has come can still be read."""
        self._error = self._error or error
        self._wake()


class Connection(asyncio.Protocol):
    """One connection, for one exchange at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._headers: CIMultiDict[str] = CIMultiDict()
        self._header_bytes = 0
        self._parts: list[bytes] = []
        self._complete = False
        self._kept_alive = False
        self._framed = False

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        transport = self._transport
        return (
            transport is not None
            and not transport.is_closing()
            and self._complete
            and self._kept_alive
        )

    def send(self, request: bytes) -> Exchange:
        """Sends one request; nothing else may be under way."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self._complete = False
        self._exchange = Exchange(self)
        self._transport.write(request)
        return self._exchange

    def pause(self) -> None:
        """Takes no more bytes for now."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Takes bytes again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """At once; what the upstream still sends meets a closed connection."""
        if self._transport is not None:
            self._transport.abort()

    # ── asyncio ──────────────────────────────────────────────────────────────────────────────────

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None or exchange.ended:
            return
        if exc is None and exchange.status and not self._framed:
            exchange.end()  # a body without a length ends with its connection
        else:
            exchange.fail(exc or ConnectionResetError("closed in the middle of its answer"))

    @override
    def data_received(self, data: bytes) -> None:
        broken: httptools.HttpParserError | None = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            broken = error
        # What came before it stands, however the bytes were cut.
        if self._parts:
            parts, self._parts = self._parts, []
            if self._exchange is not None:
                self._exchange.feed(parts)
        if self._complete and self._exchange is not None:
            self._exchange.end()
            self._exchange = None
        if broken is not None:
            cause = broken.__context__
            self._refuse(cause if isinstance(cause, EngineProtocolError) else None)

    def _refuse(self, error: EngineProtocolError | None) -> None:
        if self._exchange is not None:
            self._exchange.fail(error or EngineProtocolError("the upstream does not speak HTTP"))
        self.close()

    # ── httptools ────────────────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        self._headers = CIMultiDict()
        self._header_bytes = 0
        self._framed = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if len(self._headers) >= _MOST_HEADERS or self._header_bytes > _MOST_HEADER_BYTES:
            raise EngineProtocolError("the upstream's headers are too large")
        self._headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        headers = self._headers
        self._framed = "content-length" in headers or "transfer-encoding" in headers
        if status >= 200 and self._exchange is not None:
            self._exchange.begin(status, headers)

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            self._complete = True
            # Only true in here: afterwards the parser has forgotten the message.
            self._kept_alive = self._parser.should_keep_alive()


class UnknownHostError(OSError):
    """The name leads nowhere."""


class CannotConnectError(OSError):
    """Nobody answers there; `os_error` says why."""

    def __init__(self, os_error: OSError) -> None:
        super().__init__(os_error.errno, os_error.strerror)
        self.os_error = os_error


class _Unzipped:
    """The body of a server that compresses though it was asked not to."""

    def __init__(self, exchange: Exchange, encoding: str) -> None:
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise EngineProtocolError("the upstream compresses its answer in an unknown way")
        self._exchange = exchange
        self._unzip = zlib.decompressobj(zlib.MAX_WBITS | 32)

    async def readany(self) -> bytes:
        """As `Exchange.readany`. At most 1 MiB at a time, however far it was compressed."""
        while True:
            zipped = self._unzip.unconsumed_tail or await self._exchange.readany()
            if not zipped:
                return b""
            try:
                data = self._unzip.decompress(zipped, _MOST_UNZIPPED)
            except zlib.error as error:
                raise EngineProtocolError("the upstream's compressed answer is broken") from error
            if data:
                return data


class Answer:
    """An exchange whose status and headers are here; see `_http.Answer`."""

    def __init__(self, carrier: "PlainCarrier", connection: Connection, exchange: Exchange) -> None:
        self._carrier = carrier
        self._connection = connection
        self._exchange = exchange
        self.readany = exchange.readany
        encoding = exchange.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            self.readany = _Unzipped(exchange, encoding).readany
        self.status = exchange.status
        self.headers = exchange.headers
        self.closed = False

    def close(self) -> None:
        """Closes the connection, unless the body was read to its end."""
        if not self.closed:
            self.closed = True
            self._carrier.give_back(self._connection, reusable=self._exchange.ended)


class PlainCarrier:
    """Connections to one host, made on first use, kept for `idle_seconds` after one."""

    def __init__(
        self,
        base: SplitResult,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        *,
        idle_seconds: float,
    ) -> None:
        self._host = base.hostname or ""
        self._port = base.port or 80
        self._path = base.path.rstrip("/")
        self._timeouts = timeouts
        self._idle_seconds = idle_seconds
        host = f"[{self._host}]" if ":" in self._host else self._host
        named = {"Host": host if self._port == 80 else f"{host}:{self._port}", **headers}
        self._fixed = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """Sends a request and waits for status and headers. Raises `OSError`."""
        request = self._request(method, path, headers, body)
        while True:
            connection = self._kept()
            used = connection is not None
            connection = connection or await self._connect()
            self._open.add(connection)
            try:
                exchange = connection.send(request)
                await exchange.opened()
            except OSError:
                self.give_back(connection, reusable=False)
                # A kept connection that the server was just closing; a new one says more.
                if not used:
                    raise
            except BaseException:
                self.give_back(connection, reusable=False)
                raise
            else:
                return Answer(self, connection, exchange)

    def give_back(self, connection: Connection, *, reusable: bool) -> None:
        """The exchange is over: keeps the connection, or closes it at once."""
        self._open.discard(connection)
        if reusable and connection.usable:
            connection.idle_since = connection.loop.time()
            self._idle.append(connection)
        else:
            connection.close()

    async def aclose(self) -> None:
        """Closes every connection. Idempotent."""
        for connection in (*self._idle, *self._open):
            connection.close()
        self._idle.clear()
        self._open.clear()

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> bytes:
        more = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        length = "" if body is None else f"Content-Length: {len(body)}\r\n"
        head = f"{method} {self._path}/{path} HTTP/1.1\r\n{self._fixed}{more}{length}\r\n"
        return head.encode() + (body or b"")

    def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            young = connection.loop.time() - connection.idle_since < self._idle_seconds
            if young and connection.usable:
                return connection
            connection.close()
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeouts.connect):
                # asyncio and uvloop set TCP_NODELAY on every connection.
                _, connection = await loop.create_connection(
                    lambda: Connection(loop), self._host, self._port
                )
        except TimeoutError as error:
            raise CannotConnectError(error) from error
        except socket.gaierror as error:
            raise UnknownHostError from error
        except OSError as error:
            raise CannotConnectError(error) from error
        return connection
