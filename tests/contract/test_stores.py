"""The contracts of session and key stores, over SQLite and a real PostgreSQL."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.postgres import empty, serving_postgres

from penstock import registry
from penstock.config.schema import Stores
from penstock.core.secrets import Secret
from penstock.core.stores import KeyStore, SessionStore
from penstock.stores import LateKeys, LateSessions
from penstock.testing.stores import KeyStoreContract, SessionStoreContract


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with serving_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def settings(request: pytest.FixtureRequest) -> Stores:
    if request.param == "sqlite":
        return Stores()
    url: str = request.getfixturevalue("postgres")
    empty(url)
    return Stores(url=Secret(url))


class TestSessions(SessionStoreContract):
    @pytest.fixture(params=["at once", "late"])
    def open_store(
        self, request: pytest.FixtureRequest, settings: Stores, tmp_path: Path
    ) -> Callable[[], SessionStore]:
        kind = registry.load("stores", "sessions").Store
        if request.param == "late":
            kind = LateSessions
        return lambda: kind(settings, tmp_path / "new" / "stores.sqlite")


class TestKeys(KeyStoreContract):
    @pytest.fixture(params=["at once", "late"])
    def open_store(
        self, request: pytest.FixtureRequest, settings: Stores, tmp_path: Path
    ) -> Callable[[], KeyStore]:
        kind = registry.load("stores", "keys").Store
        if request.param == "late":
            kind = LateKeys
        return lambda: kind(settings, tmp_path / "new" / "stores.sqlite")
