"""What the HTTP tests are made of: a scripted engine, a real gateway, a real server."""

import asyncio
import http.client
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import msgspec

from penstock.config.schema import Config, Security, Server, Streams
from penstock.core.cards import ModelCard
from penstock.core.events import TERMINAL, Done, Event, TextDelta, Usage
from penstock.core.ports import Dialect
from penstock.core.request import Modality, Request
from penstock.core.secrets import Secret
from penstock.gateway.bindings import Binding
from penstock.gateway.gateway import Gateway, Parts, now_ms
from penstock.gateway.metrics import Metrics
from penstock.streams.memory import Log
from penstock.transports.http.app import create_app
from penstock.transports.http.server import HttpServer

Play = Callable[[Request], AsyncIterator[Sequence[Event]]]


async def hello(_request: Request) -> AsyncIterator[Sequence[Event]]:
    """Two batches, one of several events."""
    yield [TextDelta(part=0, text="Hel")]
    yield [TextDelta(part=0, text="lo"), TextDelta(part=0, text=" \u2028é")]
    yield [Usage(input_tokens=3, output_tokens=2), Done(reason="stop")]


class Scripted:
    """An engine that plays what a test wrote, one script a model name."""

    description: ClassVar[str] = "plays what a test wrote"
    supports: ClassVar[frozenset[str]] = frozenset({"temperature"})
    outputs: ClassVar[tuple[Modality, ...]] = ("text",)
    usual: ClassVar[str] = "hello"

    def __init__(self, scripts: dict[str, Play]) -> None:
        self.scripts = {"hello": hello, **scripts}
        self.stopped: list[str] = []

    async def start(self) -> None:
        """Ready at once."""

    async def stream(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        """Plays; notes in `stopped` when it is closed before its end."""
        whole = False
        try:
            async for batch in self.scripts[request.model](request):
                whole = bool(batch) and isinstance(batch[-1], TERMINAL)
                yield batch
        except (GeneratorExit, asyncio.CancelledError):
            if not whole:
                self.stopped.append(request.model)
            raise

    async def models(self) -> Sequence[ModelCard]:
        """All scripts."""
        return [ModelCard(name=name) for name in self.scripts]

    async def aclose(self) -> None:
        """Nothing to free."""


class Running(msgspec.Struct):
    """A server that answers, and what is behind it."""

    port: int
    gateway: Gateway
    engine: Scripted
    server: HttpServer

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One whole exchange by `http.client`; underscores in header names become hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return (
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(),
            )
        finally:
            connection.close()

    async def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """The same in a thread."""
        return await asyncio.to_thread(self.request, method, path, body, **headers)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw connection."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def idle(self) -> None:
        """Waits until nothing is left: no connection, no request, no reader, no run."""
        async with asyncio.timeout(10):
            while (
                self.server.connections
                or self.server.requests
                or self.gateway.metrics.readers
                or self.gateway.metrics.runs
            ):
                await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(
    dialects: Sequence[Dialect],
    scripts: dict[str, Play] | None = None,
    *,
    settings: Server | None = None,
    keys: Sequence[str] = (),
    admin_keys: Sequence[str] = (),
    streams: Streams | None = None,
    engine: Scripted | None = None,
    more: Callable[[Config], dict[str, object]] | None = None,
) -> AsyncIterator[Running]:
    """A real server on a free port, over a real gateway. `more`: further parts of it."""
    settings = msgspec.structs.replace(settings or Server(), port=0)
    config = Config(
        server=settings,
        security=Security(
            allowed_api_keys=tuple(Secret(key) for key in keys),
            admin_keys=tuple(Secret(key) for key in admin_keys),
        ),
        streams=streams or Streams(),
    )
    engine, metrics = engine or Scripted(scripts or {}), Metrics()
    parts = Parts(
        config=config,
        log=Log(config.streams, Path("unused"), now_ms, metrics.log_latency.observe),
        bindings=[Binding("scripted", "scripted", engine, model=engine.usual)],
        dialects=dialects,
        personalities={},
        version="1.2.3",
        metrics=metrics,
    )
    parts = msgspec.structs.replace(parts, **more(config)) if more is not None else parts
    async with Gateway(parts) as gateway, asyncio.TaskGroup() as group:
        await gateway.bindings.started(within=5)
        server = HttpServer(create_app(gateway, settings), settings, grace_seconds=0.2)
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        group.create_task(server.run_until_stopped(port.set_result))
        try:
            yield Running(await port, gateway, engine, server)
        finally:
            server.stop()
