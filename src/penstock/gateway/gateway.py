"""The facade: submit, watch, cancel, find. Transports and the command line know nothing else."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import msgspec

from penstock.config.schema import Config
from penstock.core.cards import ModelCard, Personality
from penstock.core.errors import (
    GatewayError,
    InterruptedRunError,
    ModalityError,
    UnavailableError,
    UnknownBindingError,
    UnknownModelError,
    UnknownStreamError,
)
from penstock.core.events import Seq, StreamId
from penstock.core.ports import (
    Dialect,
    Found,
    Head,
    LogStatus,
    OnDisconnect,
    Query,
    StreamInfo,
    StreamLog,
)
from penstock.core.principals import Principal
from penstock.core.request import Request
from penstock.gateway import admission, personalities
from penstock.gateway.bindings import Binding, Bindings
from penstock.gateway.keys import KeyRing
from penstock.gateway.metrics import Metrics
from penstock.gateway.routing import Router, Target
from penstock.gateway.runs import Attempt, Run, Surroundings
from penstock.gateway.watching import Watch, Watched

LAG_SECONDS: Final = 0.5
STARTING_SECONDS: Final = 5.0


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway is made of. The gateway closes the log and the bindings."""

    config: Config
    log: StreamLog
    bindings: Sequence[Binding]
    dialects: Sequence[Dialect]
    personalities: Mapping[str, Personality]
    version: str
    metrics: Metrics


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
        self._engines = {binding.name: binding.engine for binding in parts.bindings}
        self._keys = KeyRing(config.security.allowed_api_keys, config.security.admin_keys)
        self._runs: dict[StreamId, tuple[Run, Watched]] = {}
        self._group = asyncio.TaskGroup()
        self._own_tasks: list[asyncio.Task[None]] = []
        self._router: Router | None = None
        self._routed = -1
        self._closing = False
        self._around = Surroundings(
            log=parts.log,
            ready=self.bindings.ready,
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
        request = personalities.apply(request, self._personalities, self._config.defaults)
        targets = await self._route(request)
        request = self._with_alias(request)
        attempts = self._attempts(request, targets)
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
        self._log.create(head)
        run = Run(head, attempts, self._around)
        stream = StreamId(head.stream)
        self._runs[stream] = (run, Watched(head, run.cancel))
        self.metrics.runs += 1
        run.task = self._group.create_task(self._run(run))
        return head

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
        """What a listing shows. Raises `UnknownModelError`, `UnknownBindingError`."""
        _ = principal
        if query.operation in {"models", "model", "binding_models", "model_files"}:
            await self.bindings.refresh()
        visible = self.bindings.visible
        models = self._model_cards()
        if query.operation == "model":
            models = tuple(card for card in models if query.name in _names(card))[:1]
            if not models:
                raise UnknownModelError(f"no model named {query.name!r}", param="model")
        if query.operation == "binding_models":
            models = self._models_of(query.name)
        defaults = self._config.defaults
        return Found(
            query=query,
            version=self.version,
            key_required=self.key_required,
            models=models,
            bindings=tuple(binding.card for binding in visible),
            personalities=tuple(self._personalities.values()),
            defaults={name: getattr(defaults, name) for name in defaults.__struct_fields__},
            now=now_ms() // 1000,
        )

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
        version = self.bindings.version
        if version != self._routed or self._router is None:
            config = self._config
            self._router = Router(self.bindings.offers(), config.models, config.defaults)
            self._routed = version
        return self._router

    async def _route(self, request: Request) -> tuple[Target, ...]:
        try:
            return self._current_router().route(request)
        except (UnknownModelError, UnknownBindingError, ModalityError):
            # Perhaps a binding is just coming up, or has learnt a model since it was last asked.
            await self.bindings.started(within=STARTING_SECONDS)
            await self.bindings.refresh(older_than=1.0)
            return self._current_router().route(request)

    def _with_alias(self, request: Request) -> Request:
        alias = self._config.models.get(request.model)
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
        for binding, model in targets:
            try:
                fitted = admission.fit(request, self._engines[binding], binding)
            except GatewayError as error:
                refused = refused or error
            else:
                found.append(Attempt(binding, model, fitted))
        if not found and refused is not None:
            raise refused
        return found

    def _model_cards(self) -> tuple[ModelCard, ...]:
        cards = {
            (binding.name, card.name): msgspec.structs.replace(card, binding=binding.name)
            for binding in self.bindings.visible
            for card in _cards(binding)
        }
        aliases = [
            msgspec.structs.replace(
                cards.get((alias.binding, alias.name), ModelCard(name=name, binding=alias.binding)),
                name=name,
                alias_of=alias.name or None,
            )
            for name, alias in self._config.models.items()
        ]
        return (*aliases, *cards.values())

    def _models_of(self, binding: str) -> tuple[ModelCard, ...]:
        for known in self.bindings.visible:
            if known.name == binding:
                return tuple(
                    msgspec.structs.replace(card, binding=binding) for card in _cards(known)
                )
        raise UnknownBindingError(f"no binding named {binding!r}", param="binding")

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self.metrics.loop_lag.observe(max(0.0, loop.time() - due))


def _cards(binding: Binding) -> Sequence[ModelCard]:
    if binding.models or not binding.model:
        return binding.models
    return (ModelCard(name=binding.model, outputs=binding.engine.outputs),)


def _names(card: ModelCard) -> tuple[str, ...]:
    return card.name, f"{card.binding}/{card.name}", card.name.removesuffix(":latest")


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
