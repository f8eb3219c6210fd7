"""Stores that open their database, and import its library, at their first use."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast

from penstock import registry
from penstock.config.schema import Stores
from penstock.core.errors import UnavailableError
from penstock.core.keys import KeyRecord
from penstock.core.messages import Message
from penstock.core.ports import StreamState
from penstock.core.sessions import Session, SessionLine
from penstock.core.stores import KeyStore, SessionStore


class _Closing(Protocol):
    async def aclose(self) -> None: ...


S = TypeVar("S", bound=_Closing)


class _Late(Generic[S]):
    """`name`: a module of the registry's kind `stores`, whose `Store(settings, file)` is opened."""

    def __init__(self, name: str, settings: Stores, file: Path) -> None:
        self._name = name
        self._settings = settings
        self._file = file
        self._opened: S | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def get(self) -> S:
        """The store. Raises `ConfigError` for a wrong URL or a missing library."""
        if self._opened is None:
            async with self._opening:
                if self._closed:
                    raise UnavailableError("the server is stopping", retry_after=5.0)
                if self._opened is None:
                    # In a thread: the import takes a tenth of a second and more.
                    module = await asyncio.to_thread(registry.load, "stores", self._name)
                    self._opened = cast("S", module.Store(self._settings, self._file))
        return self._opened

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever kept here, as far as can be told without opening it."""
        return self._opened is None and self._settings.url is None and not self._file.exists()

    async def aclose(self) -> None:
        self._closed = True
        async with self._opening:
            if self._opened is not None:
                await self._opened.aclose()


class LateSessions:
    """A `SessionStore`, opened at its first use. `file`: SQLite's, unless `[stores] url` is set."""

    def __init__(self, settings: Stores, file: Path) -> None:
        self._late: _Late[SessionStore] = _Late("sessions", settings, file)

    async def open(self, session: Session) -> Session:
        """As the port says."""
        return await (await self._late.get()).open(session)

    async def get(self, owner: str, session: str) -> Session | None:
        """As the port says."""
        return await (await self._late.get()).get(owner, session)

    async def begin(
        self, owner: str, session: str, stream: str, said: Sequence[Message], now: int
    ) -> int:
        """As the port says."""
        return await (await self._late.get()).begin(owner, session, stream, said, now)

    async def end(
        self,
        stream: str,
        state: StreamState,
        reply: Message | None,
        error: str | None,
        now: int,
    ) -> None:
        """As the port says."""
        await (await self._late.get()).end(stream, state, reply, error, now)

    async def abandon(self, stream: str) -> None:
        """As the port says."""
        await (await self._late.get()).abandon(stream)

    async def recent(self, owner: str, limit: int) -> Sequence[SessionLine]:
        """As the port says."""
        return await (await self._late.get()).recent(owner, limit)

    async def instruct(self, owner: str, session: str, system: str) -> bool:
        """As the port says."""
        return await (await self._late.get()).instruct(owner, session, system)

    async def drop(self, owner: str, session: str) -> bool:
        """As the port says."""
        return await (await self._late.get()).drop(owner, session)

    async def aclose(self) -> None:
        """Lets go of the database, if it was opened."""
        await self._late.aclose()


class LateKeys:
    """A `KeyStore`, opened at its first use. `file`: SQLite's, unless `[stores] url` is set."""

    def __init__(self, settings: Stores, file: Path) -> None:
        self._late: _Late[KeyStore] = _Late("keys", settings, file)

    async def all(self) -> Sequence[KeyRecord]:
        """As the port says. Where there is no database yet, none is made to find that out."""
        if self._late.is_new:
            return ()
        return await (await self._late.get()).all()

    async def add(self, record: KeyRecord) -> None:
        """As the port says."""
        await (await self._late.get()).add(record)

    async def revoke(self, name_or_id: str, now: int) -> KeyRecord | None:
        """As the port says."""
        if self._late.is_new:
            return None
        return await (await self._late.get()).revoke(name_or_id, now)

    async def aclose(self) -> None:
        """Lets go of the database, if it was opened."""
        await self._late.aclose()
