"""uvicorn's HTTP protocol with what it lacks: limits, deadlines, a quiet abnormal end.

Built against uvicorn 0.54 (`uvicorn.protocols.http.httptools_impl`). ASGI code only runs once all
headers are in, so whatever a client can do before that is bounded here.
"""

import asyncio
import http
import logging
from collections.abc import Callable
from secrets import token_hex
from typing import Final, Literal, cast

import httptools
import uvicorn
from typing_extensions import override
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from penstock.config.schema import Server
from penstock.core.errors import (
    GatewayError,
    HeadersTooLargeError,
    InvalidRequestError,
    RequestTimeoutError,
)
from penstock.core.ports import Answer
from penstock.transports.http.cycle import Cycle

EXTENSION: Final = "penstock.connection"
"""The key under `scope["extensions"]` of the request's `Connection`."""

Refuse = Callable[[str, GatewayError], Answer]
"""How an error looks under a path, for requests that never reach the app."""

_FLUSH_SECONDS: Final = 10.0
_DISCARD_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)


class AbortedResponseError(Exception):
    """The response ends here, abnormally: no last chunk, connection closed, nothing logged."""


class Connection:
    """What a request's handler may know of its connection and do to it, beyond ASGI.

    When the client is gone, the task that serves the request is cancelled at once.
    """

    __slots__ = ("_cycle", "_protocol", "_task", "lost", "trouble")

    def __init__(self, protocol: "HttpProtocol", cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._task: asyncio.Task[object] | None = None
        self.lost = False
        self.trouble: GatewayError | None = None
        """What is wrong with the request's body as it arrives; ends the reading of it."""

    @property
    def body_arrived(self) -> bool:
        """Whether the client has sent all that it announced."""
        return not self._cycle.more_body

    def beat(self, data: bytes) -> None:
        """Writes one small chunk from outside the handler; nothing while the client is behind."""
        cycle = self._cycle
        idle = cycle.response_started and not cycle.response_complete and not cycle.disconnected
        if idle and cycle.chunked_encoding and not cycle.flow.write_paused:
            cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def begin(self) -> None:
        """The handler starts, in the current task."""
        self._task = asyncio.current_task()
        self._protocol.serving = self
        if self.lost:
            raise AbortedResponseError

    def end(self) -> None:
        """The handler is done. Breaks the reference cycle through the scope."""
        self._task = None
        self._protocol.serving = None
        self._cycle.scope["extensions"] = {}

    def lose(self) -> None:
        """The client is gone."""
        self.lost = True
        self._cycle.disconnected = True
        self._cycle.message_event.set()
        if self._task is not None:
            self._task.cancel()

    def blame(self, error: GatewayError) -> None:
        """Something is wrong with the body: wakes the handler that waits for it."""
        self.trouble = error
        self._cycle.message_event.set()

    def abandon(self) -> None:
        """Sends what is written, then closes without the end of the response."""
        if isinstance(self._cycle, Cycle):
            self._cycle.flush()
        self._cycle.disconnected = True
        self._protocol.close_soon()


class Guard:
    """The ASGI callable around the app: turns abnormal ends into closed connections."""

    def __init__(self, app: ASGI3Application) -> None:
        self._app = app

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serves one request."""
        connection = connection_of(scope)
        try:
            connection.begin()
            await self._app(scope, receive, send)
        except (AbortedResponseError, asyncio.CancelledError):
            # The task ends here: cancelled by a lost connection or by the server's shutdown.
            connection.abandon()
        finally:
            connection.end()


def connection_of(scope: Scope) -> Connection:
    """The connection behind an ASGI scope of ours."""
    extensions = cast("dict[str, object]", scope.get("extensions") or {})
    connection = extensions.get(EXTENSION)
    if not isinstance(connection, Connection):
        raise TypeError("this app is served by penstock.transports.http.server only")
    return connection


_Stage = Literal["fresh", "idle", "headers", "body"]


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self, config: uvicorn.Config, state: ServerState, limits: Server, refuse: Refuse
    ) -> None:
        super().__init__(config, state, {})
        self.serving: Connection | None = None
        self._limits = limits
        self._refuse = refuse
        self._arriving: Connection | None = None
        self._stage: _Stage = "fresh"
        self._head_bytes = 0
        self._refusal: GatewayError | None = None
        self._turned_away = False
        self._deadline: asyncio.TimerHandle | None = None
        self._last_resort: asyncio.TimerHandle | None = None
        self._gone = False
        self._last_data = 0.0

    # ── the connection ───────────────────────────────────────────────────────────────────────────

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm(self._limits.header_seconds)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        self._disarm()
        if self._last_resort is not None:
            self._last_resort.cancel()
        self._unset_keepalive_if_required()
        if self.serving is not None:
            self.serving.lose()
        self.pipeline.clear()
        self._arriving = None
        super().connection_lost(exc)

    @override
    def eof_received(self) -> None:
        # Closing waits for the write buffer: whoever has gone without reading is noticed here.
        if self.serving is not None:
            self.serving.lose()
        self._abort_in(_FLUSH_SECONDS)

    def close_soon(self) -> None:
        """Closes once the buffer is flushed, but in bounded time."""
        self.transport.close()
        self._abort_in(_FLUSH_SECONDS)

    def _abort_in(self, seconds: float) -> None:
        if not self._gone and self._last_resort is None:
            self._last_resort = self.loop.call_later(seconds, self.transport.abort)

    # ── bytes in ─────────────────────────────────────────────────────────────────────────────────

    @override
    def data_received(self, data: bytes) -> None:
        if self._turned_away:
            return
        self._unset_keepalive_if_required()
        self._last_data = self.loop.time()
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            logger.debug("an upgrade was asked for and is not offered")
        except httptools.HttpParserError:
            self._turn_away(self._refusal or InvalidRequestError("this is not HTTP/1.1"))
            return
        if self._stage == "headers":
            self._check_size(self._head_bytes)
            if self._refusal is not None:
                self._turn_away(self._refusal)
            elif self._deadline is None:
                self._arm(self._limits.header_seconds)
        elif self._stage == "body":
            if self._deadline is None:
                self._arm(self._limits.body_seconds)
        else:
            self._disarm()

    def _check_size(self, size: int) -> None:
        limits = self._limits
        if len(self.headers) > limits.max_headers:
            self._refusal = HeadersTooLargeError(f"more than {limits.max_headers} headers")
        elif size > limits.max_header_bytes:
            self._refusal = HeadersTooLargeError(
                f"more than {limits.max_header_bytes} bytes of headers"
            )

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stage = "headers"

    @override
    def on_headers_complete(self) -> None:
        size = self._head_bytes
        if size > self._limits.max_header_bytes:  # an upper bound: the read may hold body, too
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        self._check_size(size)
        if self._refusal is not None:
            raise self._refusal
        super().on_headers_complete()
        # Its task has not run yet: nothing was sent the other way.
        self.cycle.__class__ = Cycle
        self._disarm()
        self._stage = "body"
        self._arriving = Connection(self, self.cycle)
        self.scope["extensions"] = {EXTENSION: self._arriving}  # type: ignore[dict-item]
        # Trailers come through `on_header`, too: they must not become headers.
        self.headers = []

    @override
    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._stage = "idle"
        self._head_bytes = 0
        self._arriving = None

    # ── deadlines ────────────────────────────────────────────────────────────────────────────────

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self._late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self._stage == "body":
            self._late_body()
        elif self._stage == "fresh" and not self._head_bytes:
            self.transport.close()
        elif self.serving is not None:
            self._arm(self._limits.header_seconds)
        else:
            seconds = self._limits.header_seconds
            self._turn_away(RequestTimeoutError(f"no whole headers within {seconds:g} s"))

    def _late_body(self) -> None:
        seconds = self._limits.body_seconds
        silent = self.loop.time() - self._last_data
        if self.flow.read_paused:
            self._arm(seconds)
        elif silent < seconds:
            self._arm(seconds - silent)
        elif self._arriving is not None:
            self._arriving.blame(RequestTimeoutError(f"nothing of the body for {seconds:g} s"))

    # ── refusals that the app never sees ─────────────────────────────────────────────────────────

    def _turn_away(self, error: GatewayError) -> None:
        self._turned_away = True
        self._disarm()
        if self._stage == "body" and self._arriving is not None:
            self._arriving.blame(error)
        elif self.serving is not None:
            # A response is under way; what follows it on this connection makes no sense.
            self.serving.lose()
            self.close_soon()
        else:
            self._write(self._refuse(self._path(), error))
            # Closing at once would reset the connection while the client still sends, and the
            # answer could be lost on its way: what still comes is read and thrown away.
            self.transport.write_eof()
            self._abort_in(_DISCARD_SECONDS)

    def _path(self) -> str:
        if self._stage == "fresh":
            return "/"
        return self.url.partition(b"?")[0].decode("latin-1")

    def _write(self, answer: Answer) -> None:
        phrase = http.HTTPStatus(answer.status).phrase
        lines = [f"HTTP/1.1 {answer.status} {phrase}", "connection: close"]
        lines.append(f"content-type: {answer.content_type}")
        lines.append(f"content-length: {len(answer.body)}")
        lines.append(f"x-request-id: {token_hex(8)}")
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        default = [(n.decode(), v.decode()) for n, v in self.server_state.default_headers]
        lines += [f"{name}: {value}" for name, value in default]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        self.transport.write(head + answer.body)
