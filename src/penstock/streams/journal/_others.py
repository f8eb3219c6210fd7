"""Other processes that write in the same folder, where the index does not tell of them yet."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from penstock.streams.journal import recovery
from penstock.streams.journal._indexing import BEHIND_SECONDS
from penstock.streams.journal.archive import Archive


class Others:
    """`own`: our name as a writer. `adopt` takes over what dead processes left."""

    def __init__(self, archive: Archive, own: str, adopt: Callable[[], Awaitable[None]]) -> None:
        self._archive = archive
        self._own = own
        self._adopt = adopt
        self._buried: set[str] = set()

    async def have_left(self) -> bool:
        """Whether one of them has died: then what it left is in the index now."""
        dead = await self._archive.run(self._dead)
        if dead:
            await self._adopt()
            self._buried |= dead
        return bool(dead)

    async def may_know(self) -> bool:
        """Whether it is worth asking the index again: one of them has died, or one that lives
        was given the time to put there what it has just begun.
        """
        if await self.have_left():
            return True
        if not await self._archive.run(self._strangers):
            return False
        await asyncio.sleep(BEHIND_SECONDS * 1.2)
        return True

    def _strangers(self) -> set[str]:
        return _writers(self._archive.segments) - self._buried - {self._own}

    def _dead(self) -> set[str]:
        alive = partial(recovery.is_alive, self._archive.segments)
        return {writer for writer in self._strangers() if not alive(writer)}


def _writers(segments: Path) -> set[str]:
    return {recovery.writer_of(name) for name in recovery.names(segments)}
