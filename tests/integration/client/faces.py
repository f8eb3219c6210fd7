"""One test for both faces: what is awaited on one is called in a thread on the other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any

import penstock


class Face:
    """`sync` or `async`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.client: Any = penstock.Client if kind == "sync" else penstock.AsyncClient

    @asynccontextmanager
    async def within(self, block: Any) -> AsyncIterator[Any]:
        """A block of either kind."""
        if self.kind == "async":
            async with block as entered:
                yield entered
            return
        entered = await asyncio.to_thread(block.__enter__)
        try:
            yield entered
        finally:
            await asyncio.to_thread(block.__exit__, None, None, None)

    async def call(self, what: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """The value of a call."""
        if self.kind == "sync":
            return await asyncio.to_thread(what, *args, **named)
        found = what(*args, **named)
        return await found if isawaitable(found) else found

    async def every(self, found: Any) -> list[Any]:
        """Everything that an iterator gives."""
        if self.kind == "async":
            return [one async for one in found]
        return await asyncio.to_thread(_listed, found)


def _listed(found: Iterable[Any]) -> list[Any]:
    return list(found)
