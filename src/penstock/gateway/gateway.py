"""The facade: submit, watch, cancel, find. Transports and the command line know nothing else."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec

from penstock.config.schema import Config
from penstock.core.cards import Personality
from penstock.core.errors import (
    GatewayError,
    InterruptedRunError,
    UnavailableError,
    UnknownStreamError,
)
from penstock.core.events import Seq, StreamId
from penstock.core.pictures import PictureReader
from penstock.core.ports import (
    Dialect,
    Engine,
    Head,
    LogStatus,
    OnDisconnect,
    StreamInfo,
    StreamLog,
)
from penstock.core.principals import Principal
from penstock.core.queries import Found, Query
from penstock.core.request import Request
from penstock.core.stores import KeyStore, ModelStore, SessionStore
from penstock.gateway import admission, personalities, pictures
from penstock.gateway.addresses import Addresses
from penstock.gateway.aliases import ANY, with_alias
from penstock.gateway.bindings import Binding, Bindings
from penstock.gateway.budgets import Budgets
from penstock.gateway.choosing import Choosing
from penstock.gateway.entrance import Entrance
from penstock.gateway.fetching import STORE, Fetching
from penstock.gateway.limits import Leave
from penstock.gateway.metrics import Metrics, measure_lag
from penstock.gateway.own_code import OwnCode
from penstock.gateway.questions import STORE_OPERATIONS, Questions
from penstock.gateway.replies import continued
from penstock.gateway.routing import Target
from penstock.gateway.runs import Attempt, Run, Surroundings
from penstock.gateway.sessions import OPERATIONS as SESSION_OPERATIONS
from penstock.gateway.sessions import Sessions
from penstock.gateway.stored import Stored
from penstock.gateway.trimming import Trimming
from penstock.gateway.watching import Watch, Watched, reader


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway is made of. The gateway closes the log, the bindings and the stores."""

    config: Config
    log: StreamLog
    bindings: Sequence[Binding]
    dialects: Sequence[Dialect]
    personalities: Mapping[str, Personality]
    version: str
    metrics: Metrics
    sessions: SessionStore | None = None
    keys: KeyStore | None = None
    models: ModelStore | None = None
    own: OwnCode = msgspec.field(default_factory=OwnCode)
    pictures: PictureReader | None = None
    addresses: Addresses | None = None


class Gateway:
    """Use as an async context manager: inside it runs live, at its end they are interrupted."""

    def __init__(self, parts: Parts) -> None:
        config = parts.config
        self.dialects = tuple(parts.dialects)
        self.version = parts.version
        self.metrics = parts.metrics
        self.bindings = Bindings(parts.bindings)
        self._config = config
        self._log = parts.log
        self._stores = [store for store in (parts.sessions, parts.keys) if store is not None]
        self._personalities = parts.personalities
        self._own = parts.own
        self._engines: dict[str, Engine] = {b.name: b.engine for b in parts.bindings}
        self._pictures = parts.pictures
        self._addresses = parts.addresses
        self._stored = Stored(parts.models, self.bindings)
        if parts.models is not None:
            self._engines[STORE] = Fetching(parts.models, self._stored.look)
        self._choosing = Choosing(config, self.bindings, self._stored, self._engines)
        self.questions = Questions(
            config, self.bindings, parts.personalities, self._stored, parts.version
        )
        self.questions.functions = parts.own.function_names
        self.entrance = Entrance(config.security, parts.keys, now_ms)
        budgets = Budgets(self.bindings, config.defaults.default_context_size)
        trimming = Trimming(budgets, config.defaults.default_max_output_tokens)
        self._sessions = Sessions(parts.sessions, parts.log, config.sessions, trimming, now_ms)
        self._runs: dict[StreamId, tuple[Run, Watched]] = {}
        self._group = asyncio.TaskGroup()
        self._own_tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self.notes: dict[str, str] = {}
        """What troubles a transport, by its name, while the gateway itself can answer."""
        self._around = Surroundings(
            log=parts.log,
            ready=self._ready,
            dressed=parts.own.dressed,
            timeouts=config.timeouts,
            metrics=self.metrics,
            now_ms=now_ms,
        )

    async def __aenter__(self) -> Self:
        try:
            await self.entrance.load()
        except GatewayError:
            await self._close()
            raise
        await self._group.__aenter__()
        self._own_tasks = self.bindings.start(self._group)
        for work in (self.entrance.follow(), measure_lag(self.metrics.loop_lag.observe)):
            self._own_tasks.append(self._group.create_task(work))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        for run, _ in list(self._runs.values()):
            run.cancel(InterruptedRunError("the server was stopped"))
        for task in self._own_tasks:
            task.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            # The caller's own error comes back as it was, not wrapped by our tasks' group.
            if error is None or group.exceptions != (error,):
                raise
        finally:
            await self._close()

    async def _close(self) -> None:
        await self.bindings.aclose()
        await self._log.aclose()
        for store in self._stores:
            await store.aclose()

    # ── who ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def key_required(self) -> bool:
        """Whether any key is configured or stored. Once true, it stays so."""
        return self.entrance.needs_key

    def authenticate(self, presented: Sequence[str]) -> Principal:
        """Raises `MissingKeyError` or `InvalidKeyError`."""
        return self.entrance.authenticate(presented)

    # ── streams ──────────────────────────────────────────────────────────────────────────────────

    async def submit(
        self,
        request: Request,
        dialect: str,
        principal: Principal,
        on_disconnect: OnDisconnect | None = None,
    ) -> Head:
        """Starts a run and returns the head of its stream, whose request is the effective one.

        Raises what can be known before an engine is asked: unknown names, unsupported parameters,
        no room, no log. What the engine refuses is in the stream, as `Failed`.
        """
        self._check_room()
        admission.check_dialect(principal, dialect)
        if request.task != "generate":
            admission.check_store(principal)

        async def prepare(asked: Request) -> tuple[Head, list[Attempt]]:
            return await self._head(asked, dialect, principal, on_disconnect)

        leave = self.entrance.enter(principal)
        try:
            if request.session is None:
                head, attempts = await prepare(request)
                self._create(head)
            else:
                begun = self._sessions.begin(request, principal.id, prepare, self._create)
                head, attempts = await begun
            run = Run(head, attempts, self._around)
            stream = StreamId(head.stream)
            self._runs[stream] = (run, Watched(head, run.cancel))
            self.metrics.runs += 1
            run.task = self._group.create_task(self._run(run, leave))
        except BaseException:
            leave()
            raise
        # The key's place is the run's now, also of one that is cancelled before its first step.
        run.task.add_done_callback(lambda _: leave())
        return head

    def _check_room(self) -> None:
        if self._closing:
            raise UnavailableError("the server is stopping", retry_after=5.0)
        admission.check_room(len(self._runs), self._config.server.max_runs)

    def _create(self, head: Head) -> None:
        # Asked again: others came, or the end did, while this one was made ready.
        self._check_room()
        self._log.create(head)

    async def _head(
        self,
        request: Request,
        dialect: str,
        principal: Principal,
        on_disconnect: OnDisconnect | None,
    ) -> tuple[Head, list[Attempt]]:
        """What is to run, and by whom."""
        request = personalities.apply(request, self._personalities, self._config.defaults)
        request = self._choosing.called(self._own.offered(request))
        if request.continues is not None:
            before = await self.head(StreamId(request.continues), principal)
            request = await continued(request, before, self._log)
        targets, asked = await self._targets(request), request.model
        if not targets:
            asked = ANY
            request = msgspec.structs.replace(request, ignored=(*request.ignored, "model"))
            targets = await self._choosing.route(msgspec.structs.replace(request, model=ANY))
        for target in targets:
            admission.check_model(principal, asked, target.model)
        attempts = self._choosing.attempts(with_alias(request, self._config.models), targets)
        stream = StreamId(os.urandom(16).hex())
        if request.modality == "image":
            attempts = await self._with_pictures(stream, attempts)
        streams = self._config.streams
        usual = streams.on_disconnect if request.stream else "cancel"
        head = Head(
            stream=stream,
            owner=principal.id,
            dialect=dialect,
            created=now_ms(),
            binding=attempts[0].binding,
            model=attempts[0].model,
            request=attempts[0].request,
            on_disconnect=on_disconnect or usual,
            linger_seconds=streams.linger_seconds,
        )
        return head, attempts

    async def _with_pictures(self, stream: StreamId, attempts: list[Attempt]) -> list[Attempt]:
        album = pictures.Kept(self._log, stream)
        for attempt in attempts:
            pictures.check(attempt.request, self._config.images)
        taken = await pictures.taken_in(attempts[0].request, self._pictures, album)
        return [
            msgspec.structs.replace(a, request=pictures.with_inputs(a.request, taken))
            for a in attempts
        ]

    async def _run(self, run: Run, leave: Leave) -> None:
        try:
            await run.run()
        finally:
            _, watched = self._runs.pop(run.stream)
            watched.ended()
            self.metrics.runs -= 1
            leave()
        if run.head.request.session is not None:
            await self._sessions.finish(run.head)

    def watch(self, stream: StreamId, after: Seq) -> Watch:
        """A reader. Raises `UnknownStreamError`; whose stream it is was asked with `head`."""
        live = self._runs.get(stream)
        found = reader(self._log, stream, after)
        return Watch(found, live[1] if live is not None else None, self.metrics)

    async def head(self, stream: StreamId, principal: Principal) -> Head:
        """Raises `UnknownStreamError`, also for another key's stream."""
        head = await self._log.head(stream)
        if head.owner != principal.id and not principal.is_admin:
            raise UnknownStreamError(f"no stream {stream!r}")
        return head

    async def info(self, stream: StreamId, principal: Principal) -> StreamInfo:
        """One stream's line."""
        await self.head(stream, principal)
        return await self._log.info(stream)

    async def recent(self, principal: Principal, limit: int) -> Sequence[StreamInfo]:
        """One's own streams, the newest first; everybody's for an admin."""
        return await self._log.recent(None if principal.is_admin else principal.id, limit)

    async def cancel(self, stream: StreamId, principal: Principal) -> bool:
        """Stops the run; false when it had ended. Returns once the end is in the log."""
        await self.head(stream, principal)
        live = self._runs.get(stream)
        if live is None or not live[0].cancel():
            return False
        task = live[0].task
        if task is not None:
            await asyncio.wait([task])
        await self._log.settled(stream)
        return True

    async def erase(self, stream: StreamId, principal: Principal) -> None:
        """Cancels, then makes the content unreadable."""
        await self.cancel(stream, principal)
        await self._log.erase(stream)

    # ── pictures ─────────────────────────────────────────────────────────────────────────────────

    async def picture(self, stream: StreamId, sha256: str) -> bytes:
        """A picture kept for a stream; whose stream it is was asked with `head`, or by an address.

        Raises `UnknownStreamError`.
        """
        return await self._log.blob(stream, sha256)

    def picture_address(self, stream: StreamId, sha256: str) -> str:
        """Path and query by which anyone may have a picture for a while."""
        if self._addresses is None:
            raise UnavailableError("this gateway gives no addresses of pictures")
        return self._addresses.address(stream, sha256, now_ms() // 1000)

    def check_picture_address(
        self, stream: StreamId, sha256: str, until: int, signature: str
    ) -> None:
        """Raises `ForbiddenError` unless `picture_address` made it, not too long ago."""
        if self._addresses is None:
            raise UnknownStreamError(f"no stream {stream!r}")
        self._addresses.check(stream, sha256, until, signature, now_ms() // 1000)

    # ── questions ────────────────────────────────────────────────────────────────────────────────

    async def find(self, query: Query, principal: Principal) -> Found:
        """What is asked without starting a run.

        Raises `UnknownModelError`, `UnknownBindingError`, `ModalityError` and what the engine or
        store that was asked raises.
        """
        if query.operation in SESSION_OPERATIONS:
            return await self._sessions.find(
                query, principal.id, lambda stream: self.cancel(stream, principal)
            )
        if query.operation in STORE_OPERATIONS:
            admission.check_store(principal)
        query, targets, asked = await self._choosing.asked(query)
        for target in targets:
            admission.check_model(principal, asked, target.model)
        leave = self.entrance.enter(principal) if query.operation in admission.COUNTED else None
        try:
            return await self.questions.find(query, principal, targets, keyed=self.key_required)
        finally:
            if leave is not None:
                leave()

    async def upload(
        self, query: Query, principal: Principal, chunks: AsyncIterator[bytes]
    ) -> Found:
        """Keeps an uploaded file in the model store. Raises what the store raises."""
        admission.check_store(principal)
        return await self.questions.upload(query, chunks)

    def trouble(self) -> str | None:
        """Why the gateway can't answer; `None` when it can."""
        status = self._log.status()
        if not status.writable:
            return f"the stream log can't be written: {status.trouble}"
        return self.bindings.trouble()

    def log_status(self) -> LogStatus:
        """How the log fares."""
        return self._log.status()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    async def _targets(self, request: Request) -> tuple[Target, ...]:
        """None: nobody has this model, and the configuration says that any may answer."""
        if request.task != "generate":
            _ = self.questions.store
            return (Target(STORE, request.model),)
        return await self._choosing.targets(request)

    async def _ready(self, binding: str) -> Engine:
        return self._engines[STORE] if binding == STORE else await self.bindings.ready(binding)


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
