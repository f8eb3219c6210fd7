"""Who is to answer: from a request to the bindings that may, in order."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from penstock.config.schema import Config
from penstock.core.errors import (
    BindingDownError,
    GatewayError,
    ModalityError,
    UnknownBindingError,
    UnknownModelError,
)
from penstock.core.ports import Engine
from penstock.core.queries import Query
from penstock.core.request import Request
from penstock.gateway import admission
from penstock.gateway.aliases import ANY
from penstock.gateway.bindings import Bindings
from penstock.gateway.questions import work_of
from penstock.gateway.routing import Router, Target
from penstock.gateway.runs import Attempt
from penstock.gateway.stored import Stored

STARTING_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.1
"""A model that another process has replaced or deleted is known here for at most that long. To ask
the disk for every request would cost each some 30 microseconds.
"""


class Choosing:
    """Routes by what the bindings and the store offer now. `engines`: by the binding's name."""

    def __init__(
        self,
        config: Config,
        bindings: Bindings,
        stored: Stored,
        engines: Mapping[str, Engine],
    ) -> None:
        self._config = config
        self._bindings = bindings
        self._stored = stored
        self._engines = engines
        self._router: Router | None = None
        self._routed = (-1, -1)

    def _current_router(self) -> Router:
        version = (self._bindings.version, self._stored.version)
        if version != self._routed or self._router is None:
            config = self._config
            self._router = Router(self._stored.offers(), config.models, config.defaults)
            self._routed = version
        return self._router

    def called(self, request: Request) -> Request:
        """The request with its model's name as it is known here."""
        if request.task != "generate" or request.binding is not None:
            return request
        name = self._current_router().called(request.model)
        return request if name == request.model else replace(request, model=name)

    async def asked(self, query: Query) -> tuple[Query, tuple[Target, ...], str]:
        """The query with its model's name as it is known here, who is to answer, and that name."""
        work = work_of(query)
        if work is None:
            return query, (), ""
        work = self.called(work)
        if query.ask is None:
            query = replace(query, name=work.model)
        return query, await self.route(work), work.model

    async def targets(self, request: Request) -> tuple[Target, ...]:
        """None: nobody has this model, and the configuration says that any may answer."""
        try:
            return await self.route(request)
        except UnknownModelError:
            if ANY in self._config.models and request.binding is None:
                return ()
            raise

    async def route(self, request: Request) -> tuple[Target, ...]:
        """Raises `UnknownModelError`, `UnknownBindingError`, `ModalityError`, or what troubles the
        binding that was named, or all of them.
        """
        await self._stored.look(older_than=LOOK_SECONDS)
        try:
            targets = self._current_router().route(request)
            if not self._stored.is_early(targets):
                return targets
        except (UnknownModelError, UnknownBindingError, ModalityError):
            # Perhaps another process has just pulled it.
            await self._stored.look()
        # Or a binding is just coming up, or has learnt a model since it was last asked.
        await self._bindings.started(within=STARTING_SECONDS)
        await self._bindings.refresh(older_than=1.0)
        try:
            return self._current_router().route(request, waited=True)
        except UnknownModelError:
            # A binding that never came up has no model: its trouble is the better answer.
            self._bindings.check_up(request.binding or "")
            trouble = self._bindings.trouble()
            if trouble is not None:
                raise BindingDownError(trouble) from None
            raise

    def attempts(self, request: Request, targets: Sequence[Target]) -> list[Attempt]:
        """The request as each of them can run it; the first refusal when none can."""
        found: list[Attempt] = []
        refused: GatewayError | None = None
        for target in targets:
            name = target.binding
            try:
                filled = self._stored.applied(request, target)
                fitted = admission.fit(filled, self._engines[name], name)
            except GatewayError as error:
                refused = refused or error
            else:
                kind, own = self._bindings.kind(name), self._stored.own(target)
                found.append(Attempt(name, target.model, fitted, kind, own))
        if not found and refused is not None:
            raise refused
        return found
