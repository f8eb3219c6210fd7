"""A real gateway over the memory log, with engines that do what a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from penstock.config.schema import Config, Streams
from penstock.core.cards import ModelCard, Personality
from penstock.core.events import Entry, Event, Seq, StreamId
from penstock.core.messages import say
from penstock.core.ports import Head, StreamLog
from penstock.core.principals import LOCAL
from penstock.core.request import Request
from penstock.core.stores import SessionStore
from penstock.gateway.bindings import Binding
from penstock.gateway.gateway import Gateway, Parts, now_ms
from penstock.gateway.metrics import Metrics
from penstock.gateway.own_code import OwnCode
from penstock.streams.memory import Log

Script = Callable[[Request], AsyncIterator[Sequence[Event]]]


class Scripted:
    """An engine whose stream is a function of the test's own; `stopped` once it was closed."""

    description = "scripted"
    supports = frozenset({"temperature", "stop"})
    outputs: tuple[str, ...] = ("text",)

    def __init__(self, script: Script, error: Exception | None = None) -> None:
        self._script = script
        self._error = error
        self.stopped = asyncio.Event()
        self.closed = False
        self.asked: list[Request] = []

    async def start(self) -> None:
        if self._error is not None:
            raise self._error

    async def stream(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        self.asked.append(request)
        try:
            async for batch in self._script(request):
                yield batch
        finally:
            self.stopped.set()

    async def models(self) -> Sequence[ModelCard]:
        return [ModelCard(name="m")]

    async def aclose(self) -> None:
        self.closed = True


@asynccontextmanager
async def gateway(
    *engines: Scripted,
    config: Config | None = None,
    log: StreamLog | None = None,
    personalities: dict[str, Personality] | None = None,
    sessions: SessionStore | None = None,
    own: OwnCode | None = None,
) -> AsyncIterator[Gateway]:
    """A gateway whose bindings are called `b0`, `b1` … in the order of `engines`."""
    config = config or Config(streams=Streams(log="memory"))
    bindings = [
        Binding(f"b{n}", "scripted", engine)  # type: ignore[arg-type]
        for n, engine in enumerate(engines)
    ]
    parts = Parts(
        config=config,
        log=log or Log(config.streams, Path("unused"), now_ms),
        bindings=bindings,
        dialects=(),
        personalities=personalities or {},
        version="0",
        metrics=Metrics(),
        sessions=sessions,
        own=own or OwnCode(),
    )
    async with Gateway(parts) as made:
        yield made


def ask(**more: object) -> Request:
    return Request(**{"messages": (say("user", "Hi"),), "stream": True, **more})  # type: ignore[arg-type]


async def submit(made: Gateway, request: Request | None = None) -> Head:
    return await made.submit(request or ask(), "test", LOCAL)


async def read(made: Gateway, head: Head, after: int = 0) -> list[Entry]:
    """All of a stream, until it has ended."""
    watch = made.watch(StreamId(head.stream), Seq(after))
    found: list[Entry] = []
    async with asyncio.timeout(10):
        while batch := await watch.take():
            found.extend(batch)
    watch.close()
    return found


def events(entries: Sequence[Entry]) -> list[Event]:
    return [entry.event for entry in entries]
