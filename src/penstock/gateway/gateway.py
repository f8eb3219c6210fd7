"""The facade: submit, watch, cancel, find. Transports and the command line know nothing else."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import msgspec

from penstock.config.schema import Config
from penstock.core.cards import Personality
from penstock.core.errors import (
    ForbiddenError,
    GatewayError,
    InterruptedRunError,
    ModalityError,
    UnavailableError,
    UnknownBindingError,
    UnknownModelError,
    UnknownStreamError,
)
from penstock.core.events import BEGINNING, Seq, StreamId
from penstock.core.folding import Folder, Reply, as_message
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
from penstock.gateway import admission, personalities
from penstock.gateway.bindings import Binding, Bindings
from penstock.gateway.fetching import STORE, Fetching
from penstock.gateway.keys import KeyRing
from penstock.gateway.metrics import Metrics
from penstock.gateway.questions import Questions, work_of
from penstock.gateway.routing import Router, Target
from penstock.gateway.runs import Attempt, Run, Surroundings
from penstock.gateway.stored import Stored
from penstock.gateway.watching import Watch, Watched

LAG_SECONDS: Final = 0.5
STARTING_SECONDS: Final = 5.0
ANY: Final = "*"
"""The alias that answers for every name which nothing else has."""


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
        self._personalities = parts.personalities
        self._engines: dict[str, Engine] = {b.name: b.engine for b in parts.bindings}
        if parts.models is not None:
            self._engines[STORE] = Fetching(parts.models, self._relist)
        self._stored = Stored(parts.models, self.bindings)
        self.questions = Questions(
            config, self.bindings, parts.personalities, self._stored, parts.version
        )
        self._keys = KeyRing(config.security.allowed_api_keys, config.security.admin_keys)
        self._runs: dict[StreamId, tuple[Run, Watched]] = {}
        self._group = asyncio.TaskGroup()
        self._own_tasks: list[asyncio.Task[None]] = []
        self._router: Router | None = None
        self._routed = (-1, -1)
        self._closing = False
        self._around = Surroundings(
            log=parts.log,
            ready=self._ready,
            timeouts=config.timeouts,
            metrics=self.metrics,
            now_ms=now_ms,
        )

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._own_tasks = self.bindings.start(self._group)
        self._own_tasks.append(self._group.create_task(self._measure_lag()))
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
            await self.bindings.aclose()
            await self._log.aclose()

    # ── who ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def key_required(self) -> bool:
        """Whether any key is configured."""
        return self._keys.needed

    def authenticate(self, presented: Sequence[str]) -> Principal:
        """Raises `MissingKeyError` or `InvalidKeyError`."""
        return self._keys.authenticate(presented)

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
        no
        room, no log. What the engine refuses is in the stream, as `Failed`.
        """
        if self._closing:
            raise UnavailableError("the server is stopping", retry_after=5.0)
        admission.check_room(len(self._runs), self._config.server.max_runs)
        head, attempts = await self._head(request, dialect, principal, on_disconnect)
        self._log.create(head)
        run = Run(head, attempts, self._around)
        stream = StreamId(head.stream)
        self._runs[stream] = (run, Watched(head, run.cancel))
        self.metrics.runs += 1
        run.task = self._group.create_task(self._run(run))
        return head

    async def _head(
        self,
        request: Request,
        dialect: str,
        principal: Principal,
        on_disconnect: OnDisconnect | None,
    ) -> tuple[Head, list[Attempt]]:
        """What is to run, and by whom."""
        request = personalities.apply(request, self._personalities, self._config.defaults)
        request = await self._with_history(request, principal)
        targets = await self._targets(request)
        if not targets:
            request = msgspec.structs.replace(request, ignored=(*request.ignored, "model"))
            targets = await self._route(msgspec.structs.replace(request, model=ANY))
        for target in targets:
            self._check_model(principal, request.model, target)
        attempts = self._attempts(self._with_alias(request), targets)
        streams = self._config.streams
        usual = streams.on_disconnect if request.stream else "cancel"
        head = Head(
            stream=secrets.token_hex(16),
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

    async def _run(self, run: Run) -> None:
        try:
            await run.run()
        finally:
            _, watched = self._runs.pop(run.stream)
            watched.ended()
            self.metrics.runs -= 1

    def watch(self, stream: StreamId, after: Seq) -> Watch:
        """A reader. Raises `UnknownStreamError`; whose stream it is was asked with `head`."""
        live = self._runs.get(stream)
        reader = self._log.reader(stream, after)
        return Watch(reader, live[1] if live is not None else None, self.metrics)

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

    # ── questions ────────────────────────────────────────────────────────────────────────────────

    async def find(self, query: Query, principal: Principal) -> Found:
        """What is asked without starting a run.

        Raises `UnknownModelError`, `UnknownBindingError`, `ModalityError` and what the engine or
        store that was asked raises.
        """
        work = work_of(query)
        targets = await self._route(work) if work is not None else ()
        for target in targets:
            self._check_model(principal, work.model if work is not None else "", target)
        return await self.questions.find(query, principal, targets, keyed=self.key_required)

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

    def _current_router(self) -> Router:
        version = (self.bindings.version, self._stored.version)
        if version != self._routed or self._router is None:
            config = self._config
            self._router = Router(self._stored.offers(), config.models, config.defaults)
            self._routed = version
        return self._router

    async def _targets(self, request: Request) -> tuple[Target, ...]:
        """None: nobody has this model, and the configuration says that any may answer."""
        if request.task != "generate":
            _ = self.questions.store
            return (Target(STORE, request.model),)
        try:
            return await self._route(request)
        except UnknownModelError:
            if ANY in self._config.models and request.binding is None:
                return ()
            raise

    async def _ready(self, binding: str) -> Engine:
        return self._engines[STORE] if binding == STORE else await self.bindings.ready(binding)

    async def _relist(self) -> None:
        await self.bindings.refresh(older_than=0.0)

    async def _with_history(self, request: Request, principal: Principal) -> Request:
        """The request with what it continues in front of its own messages."""
        if request.continues is None:
            return request
        stream = StreamId(request.continues)
        head = await self.head(stream, principal)
        reply = await self._folded(stream)
        said = head.request.messages
        if reply.first.text or reply.first.tool_calls:
            said = (*said, as_message(reply.first))
        return msgspec.structs.replace(request, messages=(*said, *request.messages))

    async def _folded(self, stream: StreamId) -> Reply:
        folder = Folder()
        reader = self._log.reader(stream, BEGINNING)
        try:
            while entries := await reader.take():
                for entry in entries:
                    folder.feed(entry)
        finally:
            reader.close()
        return folder.reply()

    async def _route(self, request: Request) -> tuple[Target, ...]:
        await self._stored.look()
        # Perhaps a binding is just coming up, or has learnt a model since it was last asked.
        with suppress(UnknownModelError, UnknownBindingError, ModalityError):
            targets = self._current_router().route(request)
            if not self._stored.is_early(targets):
                return targets
        await self.bindings.started(within=STARTING_SECONDS)
        await self.bindings.refresh(older_than=1.0)
        try:
            return self._current_router().route(request)
        except UnknownModelError:
            # A binding that never came up has no model: its trouble is the better answer.
            self.bindings.check_up(request.binding or "")
            raise

    def _with_alias(self, request: Request) -> Request:
        models = self._config.models
        alias = models.get(ANY if "model" in request.ignored else request.model)
        if alias is None:
            return request
        sampling = request.sampling
        missing = {
            name: getattr(alias, name)
            for name in ("temperature", "top_p", "max_tokens")
            if getattr(sampling, name) is None
        }
        messages = request.messages
        if alias.system and not any(message.role == "system" for message in messages):
            messages = personalities.add_system(messages, alias.system)
        sampling = msgspec.structs.replace(sampling, **missing)
        return msgspec.structs.replace(request, sampling=sampling, messages=messages)

    def _attempts(self, request: Request, targets: Sequence[Target]) -> list[Attempt]:
        found: list[Attempt] = []
        refused: GatewayError | None = None
        for target in targets:
            binding, model = target
            try:
                filled = self._stored.applied(request, target)
                fitted = admission.fit(filled, self._engines[binding], binding)
            except GatewayError as error:
                refused = refused or error
            else:
                found.append(Attempt(binding, model, fitted, self._stored.own(target)))
        if not found and refused is not None:
            raise refused
        return found

    def _check_model(self, principal: Principal, asked: str, target: Target) -> None:
        if not any(principal.may_use(name) for name in {asked, target.model} if name):
            raise ForbiddenError(f"this key may not use the model {asked or target.model!r}")

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self.metrics.loop_lag.observe(max(0.0, loop.time() - due))


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
