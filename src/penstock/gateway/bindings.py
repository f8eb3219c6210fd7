"""The configured engines: which are up, what they offer, and why the others are down."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from penstock.core.cards import BindingCard, BindingState, ModelCard
from penstock.core.errors import BindingDownError, ConfigError, GatewayError
from penstock.core.ports import Engine
from penstock.core.request import Modality
from penstock.gateway.routing import Offer

logger = logging.getLogger(__name__)

LISTING_SECONDS: Final = 5.0
FRESH_SECONDS: Final = 30.0
RECHECK_SECONDS: Final = 30.0


class Binding:
    """One configured engine. `optional`: left out of listings while it is down (found by
    looking).
    """

    def __init__(
        self,
        name: str,
        engine_name: str,
        engine: Engine,
        *,
        model: str | None = None,
        url: str | None = None,
        optional: bool = False,
    ) -> None:
        self.name = name
        self.engine_name = engine_name
        self.engine = engine
        self.model = model
        self.url = url
        self.optional = optional
        self.state: BindingState = "starting"
        self.trouble: str | None = None
        self.hopeless = False
        self.models: tuple[ModelCard, ...] = ()
        self.started = asyncio.Event()
        self.changes = 0
        self._listed: float | None = None

    async def start(self) -> None:
        """Makes ready, or notes why not. Raises nothing: the other bindings serve on."""
        try:
            await self.engine.start()
        except GatewayError as error:
            self.state = "down"
            self.trouble = error.message
            self.hopeless = isinstance(error, ConfigError)
            if not self.optional:
                logger.warning("binding %s is down: %s", self.name, error.message)
        else:
            self.state = "up"
            self.trouble = None
            await self.list_models()
        finally:
            self.changes += 1
            self.started.set()

    async def list_models(self) -> None:
        """Asks the engine anew. What it said before stays when it doesn't answer."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LISTING_SECONDS):
                cards = await self.engine.models()
        except (GatewayError, TimeoutError) as error:
            logger.info("binding %s lists no models: %s", self.name, error)
        else:
            self.models = tuple(cards)
            self.changes += 1
        self._listed = loop.time()

    def is_older(self, seconds: float) -> bool:
        """Whether the listing is older than that."""
        now = asyncio.get_running_loop().time()
        return self._listed is None or now - self._listed > seconds

    @property
    def offer(self) -> Offer:
        """For routing."""
        names = tuple(card.name for card in self.models)
        return Offer(self.name, self.model, names, self.engine.outputs)

    @property
    def inputs(self) -> tuple[Modality, ...]:
        """What goes in. Whether pictures do where text comes out, its models say."""
        return ("text", "image") if "inputs" in self.engine.supports else ("text",)

    @property
    def card(self) -> BindingCard:
        """For listings."""
        return BindingCard(
            name=self.name,
            engine=self.engine_name,
            description=self.engine.description,
            state=self.state,
            trouble=self.trouble,
            model=self.model or (self.models[0].name if self.models else None),
            url=None if self.url is None else _shown(self.url),
            inputs=self.inputs,
            outputs=self.engine.outputs,
        )


def _shown(url: str) -> str:
    """An address without what may be a secret in it: user, password and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class Bindings:
    """All of them, in the order of the configuration."""

    def __init__(self, bindings: Sequence[Binding]) -> None:
        self._all: Mapping[str, Binding] = {binding.name: binding for binding in bindings}
        self._lock = asyncio.Lock()

    @property
    def visible(self) -> list[Binding]:
        """Those that a listing shows."""
        return [b for b in self._all.values() if not (b.optional and b.state != "up")]

    @property
    def version(self) -> int:
        """Changes whenever what they offer may have changed."""
        return sum(binding.changes for binding in self._all.values())

    def kind(self, name: str) -> str:
        """The engine's name of a binding; empty for what is none, such as the model store."""
        binding = self._all.get(name)
        return "" if binding is None else binding.engine_name

    def offers(self) -> list[Offer]:
        """What routing may choose from."""
        return [binding.offer for binding in self.visible]

    async def ready(self, name: str) -> Engine:
        """The engine, once it has started. Raises `BindingDownError`, saying what to fix.

        An upstream that was down a while ago is asked again: only a wrong setting is final.
        """
        binding = self._all[name]
        if not binding.started.is_set():
            await binding.started.wait()
        if binding.state == "down" and binding.hopeless:
            raise BindingDownError(f"the binding {name!r} is down: {binding.trouble}")
        return binding.engine

    def check_up(self, name: str) -> None:
        """Raises `BindingDownError` when a binding of this name is down."""
        binding = self._all.get(name)
        if binding is not None and binding.state == "down":
            raise BindingDownError(f"the binding {name!r} is down: {binding.trouble}")

    async def refresh(self, older_than: float = FRESH_SECONDS) -> None:
        """Asks every binding whose listing is that old what it offers, all at once."""
        async with self._lock:
            stale = [b for b in self._all.values() if b.state == "up" and b.is_older(older_than)]
            if stale:
                await asyncio.gather(*(binding.list_models() for binding in stale))

    async def started(self, within: float) -> None:
        """Waits until every binding is up or down, `within` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                for binding in self._all.values():
                    await binding.started.wait()

    async def recheck(self) -> None:
        """For ever: looks whether what was down has come up. Run in a task."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            for binding in self._all.values():
                if binding.state == "down" and not binding.hopeless:
                    await binding.start()

    def start(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Begins all starts, and the rechecking."""
        tasks = [group.create_task(binding.start()) for binding in self._all.values()]
        return [*tasks, group.create_task(self.recheck())]

    def trouble(self) -> str | None:
        """Why nothing can be answered, if that is so."""
        if any(binding.state == "up" for binding in self._all.values()):
            return None
        if any(binding.state == "starting" for binding in self._all.values()):
            return "the bindings are still starting"
        return "no binding is up: " + "; ".join(
            f"{b.name}: {b.trouble}" for b in self._all.values() if b.trouble
        )

    async def aclose(self) -> None:
        """Closes every engine, whatever the others do."""
        results = await asyncio.gather(
            *(binding.engine.aclose() for binding in self._all.values()), return_exceptions=True
        )
        for binding, result in zip(self._all.values(), results, strict=True):
            if isinstance(result, BaseException):
                logger.warning("binding %s did not close cleanly: %r", binding.name, result)
