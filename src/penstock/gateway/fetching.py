"""Pulling and creating models, as runs: the store behind the face of an engine."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import ClassVar, Final, cast

from penstock.core.cards import ModelCard
from penstock.core.events import Done, Event
from penstock.core.request import Modality, Request
from penstock.core.stores import ModelStore

STORE: Final = "store"
"""Stands for a binding's name in the heads of such runs."""


class Fetching:
    """`core.ports.Engine` for requests whose task is not to generate."""

    description: ClassVar[str] = "Models that are pulled, uploaded and made here"
    supports: ClassVar[frozenset[str]] = frozenset()
    outputs: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, store: ModelStore, fetched: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._fetched = fetched

    async def start(self) -> None:
        """Nothing to make ready."""

    async def stream(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        """Runs the task. A model that came is offered from then on."""
        fetching = cast("AsyncGenerator[Sequence[Event]]", self._store.fetch(request))
        async with aclosing(fetching) as batches:
            async for batch in batches:
                if batch and isinstance(batch[-1], Done):
                    # Before the end is told: whoever reads it may ask for the model at once.
                    await self._fetched()
                yield batch

    async def models(self) -> Sequence[ModelCard]:
        """None of its own: an engine serves them."""
        return ()

    async def aclose(self) -> None:
        """Nothing to free."""
