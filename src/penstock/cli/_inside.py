"""A gateway in this process, as somebody who answers. Needs the server's packages."""

import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Final, cast

import msgspec

from penstock import compose, registry
from penstock.cli._advice import single
from penstock.cli._drawing import Drawing
from penstock.client.connection import Received
from penstock.config import loading, paths
from penstock.config.schema import Config
from penstock.core.cards import BindingCard, ModelCard
from penstock.core.errors import ConfigError
from penstock.core.events import BEGINNING, TERMINAL, Blob, Entry, Seq, StreamId
from penstock.core.ports import Head, StreamInfo, StreamLog
from penstock.core.principals import LOCAL
from penstock.core.queries import Query
from penstock.core.request import Request
from penstock.gateway.gateway import Gateway
from penstock.gateway.watching import Watch
from penstock.wire import json

_DIALECT: Final = "native"
_DRAWS: Final = "diffusers"
_DRAWN_BY: Final = ("torch", "diffusers")
_DRAWING: Final = "demo_images"
_STARTING_SECONDS: Final = 10.0


@asynccontextmanager
async def open_inside(config: Config, *, pictures: bool = False) -> AsyncIterator["Inside"]:
    """A gateway that lives as long as the command. `pictures`: it is to draw."""
    if pictures:
        config = drawing(config)
    try:
        async with compose.open_gateway(config, stored_keys=False) as gateway:
            yield Inside(gateway)
    except BaseExceptionGroup as group:
        raise single(group) from group


def drawing(config: Config, environment: Mapping[str, str] = os.environ) -> Config:
    """A configuration with a binding that makes pictures: its own, else the demo image model.

    Raises `ConfigError` saying what to install where there is neither.
    """
    tables = config.bindings or compose.implicit_bindings(environment)
    engines = {loading.engine_of(name, table) for name, table in tables.items()}
    if any("image" in registry.load("engines", name).Engine.outputs for name in engines):
        return config
    if _DRAWS not in registry.names("engines") or not all(find_spec(one) for one in _DRAWN_BY):
        raise ConfigError(
            "no server was found, and nothing here draws: `make setup-images` (outside of a clone "
            "pip install 'penstock[diffusers]') installs what the demo image model needs; or name "
            "a server with -c FILE, or add a binding that makes pictures to config.toml"
        )
    return msgspec.structs.replace(
        config, bindings={**config.bindings, _DRAWING: {"engine": _DRAWS}}
    )


class Inside:
    """The gateway's facade, seen from the command line."""

    address = "in this process"
    default_model = ""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @asynccontextmanager
    async def ask(self, request: Request) -> AsyncIterator["LocalAnswer"]:
        """Leaving before the end cancels the run."""
        request = msgspec.structs.replace(request, stream=True)
        head = await self._gateway.submit(request, _DIALECT, LOCAL, on_disconnect="cancel")
        stream = StreamId(head.stream)
        answer = LocalAnswer(head, self._gateway.watch(stream, BEGINNING))
        try:
            yield answer
        finally:
            if not answer.ended:
                await self._gateway.cancel(stream, LOCAL)
            answer.close()

    @asynccontextmanager
    async def draw(self, request: Request) -> AsyncIterator[Drawing]:
        """Leaving before the end cancels the run."""
        await self._gateway.bindings.started(within=_STARTING_SECONDS)
        head = await self._gateway.submit(request, _DIALECT, LOCAL, on_disconnect="cancel")
        stream = StreamId(head.stream)
        watch = self._gateway.watch(stream, BEGINNING)

        async def entries() -> AsyncIterator[Entry]:
            while batch := await watch.take():
                for entry in batch:
                    yield entry

        drawing = Drawing(head.stream, entries(), self)
        try:
            yield drawing
        except BaseException:
            drawing.cancelled = await self._gateway.cancel(stream, LOCAL)
            raise
        finally:
            watch.close()

    async def picture(self, stream: str, blob: Blob) -> bytes:
        """The bytes of a stream's picture."""
        return await self._gateway.picture(StreamId(stream), blob.sha256)

    async def models(self) -> Sequence[ModelCard]:
        """What every binding offers, once they have started."""
        await self._gateway.bindings.started(within=_STARTING_SECONDS)
        return (await self._gateway.find(Query("models"), LOCAL)).models

    async def bindings(self) -> Sequence[BindingCard]:
        """How they fare."""
        await self._gateway.bindings.started(within=_STARTING_SECONDS)
        return (await self._gateway.find(Query("bindings"), LOCAL)).bindings


class LocalAnswer:
    """A stream of this process."""

    malformed = 0

    def __init__(self, head: Head, watch: Watch) -> None:
        self._head = head
        self._watch = watch
        self.stream = head.stream
        self.ended = False

    @property
    def exchange(self) -> dict[str, object]:
        """The head of the stream: who answers, and the request as it runs."""
        return {"head": self._head}

    async def take(self) -> Sequence[Received]:
        """All that has come since."""
        if self.ended:
            return ()
        entries = await self._watch.take()
        self.ended = not entries or isinstance(entries[-1].event, TERMINAL)
        return [Received(json.encode(entry), (entry.event,)) for entry in entries]

    def close(self) -> None:
        """Lets go of the stream."""
        self._watch.close()


@asynccontextmanager
async def open_journal(config: Config) -> AsyncIterator["Journal"]:
    """The streams of this configuration's folder; no engine is started."""
    module = registry.load("streams", config.streams.log)
    folder = paths.streams_folder(config)
    log = cast("StreamLog", await module.open_log(config.streams, folder, _now_ms, _unmeasured))
    try:
        yield Journal(log)
    finally:
        await log.aclose()


class Journal:
    """A log's streams, all of them: whoever may read its files is their owner."""

    def __init__(self, log: StreamLog) -> None:
        self._log = log

    @asynccontextmanager
    async def follow(self, stream: str, after: Seq) -> AsyncIterator[AsyncIterator[Entry]]:
        """Past and, when another process writes it, live."""
        await self._log.head(StreamId(stream))
        reader = self._log.reader(StreamId(stream), after)

        async def entries() -> AsyncIterator[Entry]:
            while batch := await reader.take():
                for entry in batch:
                    yield entry

        try:
            yield entries()
        finally:
            reader.close()

    async def picture(self, stream: str, blob: Blob) -> bytes:
        """The bytes of a stream's picture."""
        return await self._log.blob(StreamId(stream), blob.sha256)

    async def recent(self, limit: int) -> Sequence[StreamInfo]:
        """The newest."""
        return await self._log.recent(None, limit)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _unmeasured(_seconds: float) -> None:
    """Nobody reads metrics here."""
