"""The model store, for commands: no server is needed, and one that runs sees what changes."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol, cast

from penstock.cli._talking import needing_server
from penstock.config.schema import Config
from penstock.core.errors import UnknownModelError
from penstock.core.events import Event
from penstock.core.request import Request
from penstock.core.stores import StoredModel


class Store(Protocol):
    """What the commands use of it; `add` is for this machine's own user alone."""

    folder: str

    def fetch(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        """`core.stores.ModelStore.fetch`."""

    def add(self, path: Path, name: str) -> AsyncIterator[Sequence[Event]]:
        """Takes in a file."""

    async def models(self) -> Sequence[StoredModel]:
        """All, by name."""

    async def delete(self, name: str) -> None:
        """Forgets a name."""


class _Compose(Protocol):
    def model_store(self, config: Config) -> Store: ...


def open_store(config: Config) -> Store:
    """The store of this configuration."""
    return cast("_Compose", needing_server("penstock.compose")).model_store(config)


async def find(store: Store, name: str) -> StoredModel:
    """Raises `UnknownModelError`."""
    short = name.removesuffix(":latest")
    for model in await store.models():
        if model.name.removesuffix(":latest") == short:
            return model
    raise UnknownModelError(f"no model named {name!r} in the store", param="model")


def megabytes(size: int) -> str:
    """For a person."""
    return f"{size / 1024**3:.1f} GiB" if size >= 1024**3 else f"{size / 1024**2:.1f} MiB"
