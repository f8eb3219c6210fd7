"""The server: listens, accepts promptly, shuts down in bounded time."""

import asyncio
import errno
import gc
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import uvicorn
from typing_extensions import override

from penstock.config.schema import Server
from penstock.core.errors import ConfigError
from penstock.transports.http.app import App
from penstock.transports.http.protocol import Guard, HttpProtocol

try:
    import uvloop
except ImportError:  # there is none for Windows
    uvloop = None  # type: ignore[assignment, unused-ignore]

_BACKLOG: Final = 4096
_ACCEPTS_PER_TURN: Final = 64
_OUT_OF_FILES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_KEEP_ALIVE_SECONDS: Final = 75
_GC_THRESHOLDS: Final = (50_000, 50, 50)

logger = logging.getLogger(__name__)


class _Listener:
    """Accepts many connections per turn of the loop: uvloop's own server accepts one."""

    def __init__(
        self,
        sock: socket.socket,
        factory: Callable[[], asyncio.Protocol],
        group: asyncio.TaskGroup,
    ) -> None:
        self._sock = sock
        self._factory = factory
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Starts to accept."""
        self._pause = None
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def close(self) -> None:
        """Stops accepting; clients that wait in the backlog are refused."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                client, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _OUT_OF_FILES:
                    raise
                logger.error("can't accept connections for a second: %s", error.strerror)  # noqa: TRY400
                self._loop.remove_reader(self._sock.fileno())
                self._pause = self._loop.call_later(1.0, self.open)
                return
            self._group.create_task(self._connect(client))

    async def _connect(self, client: socket.socket) -> None:
        try:
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(self._factory, client)
        except OSError as error:  # gone before it was served
            client.close()
            logger.debug("a connection was lost while it was accepted: %s", error)


class HttpServer(uvicorn.Server):
    """Serves one app at one address until `stop()`, SIGINT or SIGTERM.

    At the end, running responses have `grace_seconds` to finish; then they are closed abnormally.
    """

    def __init__(self, app: App, settings: Server, *, grace_seconds: float = 10.0) -> None:
        config = uvicorn.Config(
            Guard(app),
            host=settings.host,
            port=settings.port,
            http=HttpProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        super().__init__(config)
        self._app = app
        self._settings = settings
        self._grace = grace_seconds
        self._sockets: list[socket.socket] = []
        self._listeners: list[_Listener] = []
        self._group = asyncio.TaskGroup()
        self._ready: Callable[[int], None] = lambda _port: None

    async def run_until_stopped(self, ready: Callable[[int], None]) -> None:
        """Serves. `ready` is called with the port as soon as connections are accepted.

        Raises `ConfigError` when the address can't be had.
        """
        self._ready = ready
        self._sockets = await _bind(self._settings.host, self._settings.port)
        for port in self._settings.also_listen:
            try:
                self._sockets += await _bind(self._settings.host, port, "server.also_listen")
            except ConfigError as error:
                logger.warning("%s; serving without it", error.message)
        async with self._group:
            try:
                with _tuned_gc():
                    await self.serve()
            finally:
                self._cut_off()

    def stop(self) -> None:
        """Ends `run_until_stopped` from within the loop."""
        self.should_exit = True

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self.server_state.connections)

    @property
    def requests(self) -> int:
        """How many are being served."""
        return len(self.server_state.tasks)

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        found = self._sockets
        self.servers = []
        self._listeners = [_Listener(sock, self._protocol, self._group) for sock in found]
        port = int(found[0].getsockname()[1])
        for listener in self._listeners:
            listener.open()
        self.started = True
        await self.on_tick(0)
        self._ready(port)

    def _protocol(self) -> asyncio.Protocol:
        return HttpProtocol(self.config, self.server_state, self._settings, self._app.refusal)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        state = self.server_state
        self._close_listeners()
        for connection in list(state.connections):
            connection.shutdown()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._grace
        # uvicorn's sets have no event to wait for.
        while (state.connections or state.tasks) and loop.time() < deadline:
            if self.force_exit:
                break
            await asyncio.sleep(0.02)
        if state.tasks:
            logger.warning("%d responses were cut off by the shutdown", len(state.tasks))
        self._cut_off()
        await asyncio.gather(*state.tasks, return_exceptions=True)

    def _close_listeners(self) -> None:
        while self._listeners:
            self._listeners.pop().close()

    def _cut_off(self) -> None:
        self._close_listeners()
        for task in self.server_state.tasks:
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the signal is not raised anew: the caller still has work to do."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._on_signal) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


async def run(app: App, settings: Server, ready: Callable[[int], None]) -> None:
    """Serves `app` until SIGINT or SIGTERM; a second one ends it without grace."""
    await HttpServer(app, settings).run_until_stopped(ready)


def new_loop() -> asyncio.AbstractEventLoop:
    """The event loop to serve on: uvloop's where there is one."""
    return uvloop.new_event_loop() if uvloop is not None else asyncio.new_event_loop()


@contextmanager
def _tuned_gc() -> Iterator[None]:
    """What lives since the start is never looked at again, and the rest less often."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _bind(host: str, port: int, param: str = "server.port") -> list[socket.socket]:
    """A listening socket for every address of `host`, all on one port."""
    loop = asyncio.get_running_loop()
    found: list[socket.socket] = []
    try:
        infos = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=1)
        for family, kind, protocol, _name, address in dict.fromkeys(infos):
            sock = socket.socket(family, kind, protocol)
            found.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            taken = port or (found[0].getsockname()[1] if len(found) > 1 else 0)
            sock.bind((address[0], taken, *address[2:]))
            sock.listen(_BACKLOG)
    except (OSError, UnicodeError) as error:  # of a name that can be none
        for sock in found:
            sock.close()
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigError(f"can't listen on {host}:{port}: {why}", param=param) from error
    return found
