"""`penstock.open`: engine, gateway and a log in memory in this process, behind a client's face.

Needs the server's packages, and those of the engine.
"""

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar, cast

from penstock import registry
from penstock.client import aio, sync
from penstock.client.aio import AsyncClient
from penstock.client.steps import Line, Sleep, Source, Step, Steps, Work, awaited, taken
from penstock.client.sync import Client
from penstock.config import loading
from penstock.config.schema import Config, Streams
from penstock.core.cards import ModelCard
from penstock.core.errors import ConfigError, UnavailableError, UnknownSessionError
from penstock.core.events import BEGINNING, TERMINAL, Blob, Entry, Seq, StreamId
from penstock.core.pictures import PictureReader
from penstock.core.ports import Engine, StreamInfo, StreamLog, Timeouts
from penstock.core.principals import LOCAL
from penstock.core.queries import Found, Query, SessionAsk
from penstock.core.request import Request
from penstock.gateway.bindings import Binding
from penstock.gateway.gateway import Gateway, Parts, now_ms
from penstock.gateway.metrics import Metrics
from penstock.gateway.watching import Watch
from penstock.stores import LateSessions

T = TypeVar("T")
Post = Callable[[Callable[[], None]], None]

_NAME: Final = "local"
_DIALECT: Final = "native"


def open(  # noqa: A001
    what: str, /, *, timeouts: Timeouts | None = None, **settings: object
) -> "Local":
    """An engine in this process: `with penstock.open("llamacpp:model.gguf") as client:`.

    `what` is the name of an engine and, after a colon, its `path` or `url`; `settings` are those of
    `[bindings.NAME]`. With `with` it gives a `Client`, with `async with` an `AsyncClient`. What it
    made is gone when the block is left. Raises `ConfigError` for what is no engine or no setting
    of it; entering raises what keeps the engine from starting.
    """
    if not isinstance(timeouts, Timeouts | None):
        raise ConfigError("timeouts must be penstock.Timeouts(…)", param="timeouts")
    engine, _, rest = str(what).partition(":")
    if engine not in registry.names("engines"):
        known = ", ".join(sorted(registry.names("engines")))
        raise ConfigError(f"no engine named {engine!r}; say ENGINE:PATH with one of {known}")
    table: dict[str, object] = {"engine": engine, **settings}
    if rest:
        table["url" if rest.startswith(("http://", "https://")) else "path"] = rest
    return Local(table, timeouts or Timeouts())


class Local:
    """An engine that is still to be started; a context manager of either kind, used once."""

    def __init__(self, table: dict[str, object], timeouts: Timeouts) -> None:
        self._table = table
        self._timeouts = timeouts
        self._stack = AsyncExitStack()
        self._thread: _Thread | None = None

    async def __aenter__(self) -> AsyncClient:
        gateway = await self._stack.enter_async_context(_opened(self._table, self._timeouts))
        return aio.around(_Gateway(gateway, _at_once), _Here(), self._shown)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def __enter__(self) -> Client:
        self._thread = _Thread(self._table, self._timeouts)
        gateway = self._thread.started()
        server = _Gateway(gateway, self._thread.post)
        return sync.around(server, self._thread, self._shown)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread is not None:
            self._thread.stop()

    @property
    def _shown(self) -> str:
        return f"{self._table['engine']}:{self._table.get('path') or self._table.get('url') or ''}"


@asynccontextmanager
async def _opened(table: dict[str, object], timeouts: Timeouts) -> AsyncIterator[Gateway]:
    """The gateway, its engine started. Raises `BindingDownError` when that can't be."""
    config = Config(bindings={_NAME: dict(table)}, streams=Streams(log="memory"), timeouts=timeouts)
    engine_name = loading.engine_of(_NAME, table)
    module = registry.load("engines", engine_name)
    settings = loading.convert_binding(_NAME, table, module.Config, os.environ)
    engine = cast("Engine", module.Engine(settings, timeouts))
    model = getattr(settings, "model", None)
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
        metrics = Metrics()
        log = registry.load("streams", "memory").Log(config.streams, Path(folder), now_ms)
        parts = Parts(
            config=config,
            log=cast("StreamLog", log),
            bindings=[Binding(_NAME, engine_name, engine, model=model)],
            dialects=(),
            personalities={},
            version=version("penstock"),
            metrics=metrics,
            sessions=LateSessions(config.stores, Path(folder) / "sessions.sqlite"),
            pictures=_picture_reader(config, engine),
        )
        async with Gateway(parts) as gateway:
            await gateway.bindings.ready(_NAME)
            yield gateway


def _picture_reader(config: Config, engine: Engine) -> PictureReader | None:
    if "image" not in engine.outputs:
        return None
    return cast("PictureReader", registry.load("pictures", "reading").Reader(config.images))


class _Gateway:
    """A gateway of this process as a `steps.Server`. `post` calls something on its loop."""

    def __init__(self, gateway: Gateway, post: Post) -> None:
        self._gateway = gateway
        self._post = post

    def begin(self, request: Request) -> Steps[Source]:
        async def submit() -> tuple[str, Watch, tuple[str, ...]]:
            head = await self._gateway.submit(request, _DIALECT, LOCAL, on_disconnect="linger")
            watch = self._gateway.watch(StreamId(head.stream), BEGINNING)
            return head.stream, watch, head.request.ignored

        stream, watch, ignored = yield from _worked(submit)
        source = _Watching(self, stream, BEGINNING, self._post)
        source.watch = watch
        if ignored:
            source.headers = {"penstock-ignored": ", ".join(ignored)}
        return source

    def follow(self, stream: str, after: Seq) -> Source:
        return _Watching(self, stream, after, self._post)

    async def look(self, stream: str, after: Seq) -> Watch:
        await self._gateway.head(StreamId(stream), LOCAL)
        return self._gateway.watch(StreamId(stream), after)

    def cancel(self, stream: str) -> Steps[bool]:
        return (yield from _worked(lambda: self._gateway.cancel(StreamId(stream), LOCAL)))

    def models(self) -> Steps[Sequence[ModelCard]]:
        return (yield from self._find(Query("models"))).models

    def streams(self, limit: int) -> Steps[Sequence[StreamInfo]]:
        return (yield from _worked(lambda: self._gateway.recent(LOCAL, limit)))

    def picture(self, stream: str, blob: Blob) -> Steps[bytes]:
        return (yield from _worked(lambda: self._gateway.picture(StreamId(stream), blob.sha256)))

    def history(self, session: str) -> Steps[Sequence[Line]]:
        found = (yield from self._find(Query("session", session, SessionAsk(session)))).session
        if found is None:
            raise UnknownSessionError(f"no session {session!r}")
        lines = [Line("system", found.system)] if found.system else []
        for turn in found.turns:
            lines += [Line(message.role, message.text) for message in turn.said]
            if turn.reply is not None:
                state = "" if turn.state == "done" else turn.state
                lines.append(Line("assistant", turn.reply.text, state))
        return lines

    def forget(self, session: str) -> Steps[None]:
        yield from self._find(Query("drop_session", session, SessionAsk(session)))

    def _find(self, query: Query) -> Steps[Found]:
        return (yield from _worked(lambda: self._gateway.find(query, LOCAL)))


class _Watching:
    """One stream of the gateway as a `steps.Source`."""

    def __init__(self, server: _Gateway, stream: str, after: Seq, post: Post) -> None:
        self.stream = stream
        self.headers: Mapping[str, str] = {}
        self.watch: Watch | None = None
        self._server = server
        self._after = after
        self._post = post
        self._ended = False

    def take(self) -> Steps[Sequence[Entry]]:
        if self._ended:
            return ()
        if self.watch is None:
            self.watch = yield from _worked(lambda: self._server.look(self.stream, self._after))
        entries = yield from _worked(self.watch.take)
        self._ended = not entries or isinstance(entries[-1].event, TERMINAL)
        if self._ended:
            self._post(self.watch.close)
        return entries

    def close(self) -> None:
        if self.watch is not None and not self._ended:
            self._post(self.watch.lost)


def _worked(make: Callable[[], Awaitable[T]]) -> Steps[T]:
    return cast("T", (yield Work(make)))


def _at_once(call: Callable[[], None]) -> None:
    call()


class _Here:
    """Takes steps in the caller's own loop."""

    async def run(self, steps: Steps[T]) -> T:
        return await awaited(steps, _taken)

    async def close(self) -> None:
        """Nothing: the block that opened the engine closes it."""


async def _taken(step: Step) -> object:
    if isinstance(step, Work):
        return await step.make()
    if isinstance(step, Sleep):
        await asyncio.sleep(step.seconds)
        return None
    raise TypeError("nothing here is reached over HTTP")


class _Thread:
    """Takes steps on a loop in a thread of its own, where the gateway lives."""

    def __init__(self, table: dict[str, object], timeouts: Timeouts) -> None:
        self._ready: Future[Gateway] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave = asyncio.Event()
        self._thread = threading.Thread(
            target=self._main, args=(table, timeouts), name="penstock", daemon=True
        )

    def started(self) -> Gateway:
        """Waits for the engine. Raises what keeps it from starting."""
        self._thread.start()
        try:
            return self._ready.result()
        except BaseException:
            self.stop()
            raise

    def run(self, steps: Steps[T]) -> T:
        return taken(steps, self._take)

    def close(self) -> None:
        """Nothing: the block that opened the engine closes it."""

    def post(self, call: Callable[[], None]) -> None:
        """Calls on the loop; not at all once that has ended."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(call)

    def stop(self) -> None:
        """Ends the gateway, then the thread."""
        self.post(self._leave.set)
        self._thread.join()

    def _take(self, step: Step) -> object:
        return self._there(step) if isinstance(step, Work) else _slept(step)

    def _there(self, work: Work) -> object:
        if self._loop is None or self._loop.is_closed():
            raise UnavailableError("the engine was closed")
        future = asyncio.run_coroutine_threadsafe(_taken(work), self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    def _main(self, table: dict[str, object], timeouts: Timeouts) -> None:
        asyncio.run(self._serve(table, timeouts))

    async def _serve(self, table: dict[str, object], timeouts: Timeouts) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            async with _opened(table, timeouts) as gateway:
                self._ready.set_result(gateway)
                await self._leave.wait()
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)


def _slept(step: Step) -> object:
    if not isinstance(step, Sleep):
        raise TypeError("nothing here is reached over HTTP")
    time.sleep(step.seconds)
    return None
