"""The database under the stores: its file, its address, its trouble."""

import asyncio
import logging
import sqlite3
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from tests.integration.serving import ROOT, free_port

from penstock import registry
from penstock.config.schema import Stores
from penstock.core.errors import ConfigError, GatewayError, UnavailableError
from penstock.core.messages import say
from penstock.core.secrets import Secret
from penstock.core.sessions import Session
from penstock.core.stores import SessionStore
from penstock.stores import LateSessions


def opened(file: Path, url: str | None = None) -> SessionStore:
    settings = Stores(url=None if url is None else Secret(url))
    store: SessionStore = registry.load("stores", "sessions").Store(settings, file)
    return store


async def test_nobody_else_may_read_the_files(tmp_path: Path):
    file = tmp_path / "data" / "stores.sqlite"
    store = opened(file)
    await store.open(Session(id="s", owner="o"))
    files = sorted(file.parent.iterdir())
    assert [path.name for path in files] == [
        "stores.sqlite",
        "stores.sqlite-shm",
        "stores.sqlite-wal",
    ]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert file.parent.stat().st_mode & 0o777 == 0o700
    await store.aclose()


async def test_a_newer_schema_is_refused(tmp_path: Path):
    file = tmp_path / "stores.sqlite"
    store = opened(file)
    await store.open(Session(id="s", owner="o"))
    await store.aclose()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE penstock_schema SET version = 2")
    connection.close()
    store = opened(file)
    with pytest.raises(ConfigError, match="newer Penstock") as caught:
        await store.get("o", "s")
    assert caught.value.param == "stores.url"
    await store.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:sesame@h/db",
        "sqlite://",
        "sesame",
        "postgresql://u:sesame@h:port/db",
        "postgresql+psycopg2://u:sesame@h/db",
    ],
)
def test_a_wrong_address_is_refused_and_not_shown(tmp_path: Path, url: str):
    with pytest.raises(ConfigError) as caught:
        opened(tmp_path / "f", url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "sesame" not in f"{error!r} {error}"
        error = error.__cause__ or error.__context__


async def test_a_database_out_of_reach(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    url = f"postgresql://user:sesame@127.0.0.1:{free_port()}/db"
    store = opened(tmp_path / "f", url)
    with caplog.at_level(logging.DEBUG), pytest.raises(UnavailableError) as caught:
        await store.get("o", "s")
    assert caught.value.message == "the database can't be reached"
    assert caught.value.retry_after
    shown = f"{caught.value!r} {caplog.text} {store!r} {vars(store)!r} {Stores(url=Secret(url))!r}"
    assert caplog.text
    assert "sesame" not in shown
    assert caught.value.__context__ is None
    await store.aclose()


async def test_a_locked_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("penstock.stores._database._BUSY_SECONDS", 0.2)
    file = tmp_path / "stores.sqlite"
    store = opened(file)
    await store.open(Session(id="s", owner="o"))
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="busy"):
        await store.begin("o", "s", "a", [say("user", "x")], 1)
    assert await store.get("o", "s") is not None  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    assert await store.begin("o", "s", "a", [say("user", "x")], 1) == 1
    await store.aclose()


async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "stores.sqlite"

    def small(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA max_page_count=40")

    monkeypatch.setattr("penstock.stores._database._set_up_sqlite", small)
    store = opened(file)
    await store.open(Session(id="s", owner="o"))
    with pytest.raises(UnavailableError, match="disk is full"):
        await store.begin("o", "s", "a", [say("user", "x" * 1_000_000)], 1)
    found = await store.get("o", "s")
    assert found is not None
    assert found.turns == ()
    assert await store.begin("o", "s", "b", [say("user", "small")], 1) == 1
    await store.aclose()


async def test_a_file_that_is_no_database(tmp_path: Path):
    file = tmp_path / "stores.sqlite"
    file.write_bytes(b"no database at all " * 100)
    store = opened(file)
    with pytest.raises(GatewayError) as caught:
        await store.get("o", "s")
    assert str(tmp_path) not in caught.value.message
    await store.aclose()


RACER = """
import asyncio, sys
from pathlib import Path
from penstock import registry
from penstock.config.schema import Stores
from penstock.core.errors import SessionBusyError
from penstock.core.messages import say
from penstock.core.sessions import Session

async def main(file, me):
    store = registry.load("stores", "sessions").Store(Stores(), Path(file))
    await store.open(Session(id="s", owner="o"))
    for n in range(40):
        try:
            await store.begin("o", "s", f"{me}-{n}", [say("user", "x")], n)
        except SessionBusyError:
            continue
        await store.end(f"{me}-{n}", "done", None, None, n)
        print(n)
    await store.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_that_race_for_one_session(tmp_path: Path):
    file = tmp_path / "stores.sqlite"

    def race(me: str) -> int:
        command = [sys.executable, "-c", RACER, str(file), me]
        done = subprocess.run(
            command, capture_output=True, check=False, env={"PYTHONPATH": str(ROOT / "src")}
        )
        assert done.returncode == 0, done.stderr.decode()
        return len(done.stdout.splitlines())

    won = await asyncio.gather(*(asyncio.to_thread(race, name) for name in "abc"))
    store = opened(file)
    found = await store.get("o", "s")
    assert found is not None
    assert [turn.n for turn in found.turns] == list(range(1, sum(won) + 1))
    assert {turn.state for turn in found.turns} == {"done"}
    await store.aclose()


def test_starting_does_not_pay_for_the_library(tmp_path: Path):
    code = "import sys, penstock.compose; assert 'sqlalchemy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(ROOT / "src")})


async def test_a_late_store_is_made_at_its_first_use(tmp_path: Path):
    file = tmp_path / "stores.sqlite"
    unused = LateSessions(Stores(), file)
    await unused.aclose()
    assert not file.exists()
    with pytest.raises(UnavailableError):
        await unused.get("o", "s")


async def test_a_cancelled_write_is_over_when_the_next_one_begins(tmp_path: Path):
    """Else a turn that was given up could begin after it was taken back, and hold its session."""
    file = tmp_path / "stores.sqlite"
    store = opened(file)
    try:
        await store.open(Session(id="s", owner="alice", created=1, updated=1))
        for n in range(5):
            other = sqlite3.connect(file, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            beginning = asyncio.ensure_future(store.begin("alice", "s", f"{n}", (), 1))
            await asyncio.sleep(0.05)
            beginning.cancel()
            asyncio.get_running_loop().call_later(0.2, other.rollback)
            await asyncio.wait([beginning])
            await store.abandon(f"{n}")
            other.close()
            found = await store.get("alice", "s")
            assert found is not None
            assert found.turns == ()
        assert await store.begin("alice", "s", "last", (), 1) >= 1
    finally:
        await store.aclose()


def test_a_new_file_may_be_opened_by_many_at_once(tmp_path: Path):
    """A server and a command at their first start: none is told that the file is locked."""
    told: list[object] = []

    def open_one(file: Path, together: threading.Barrier) -> None:
        store = opened(file)
        together.wait()
        try:
            told.append(asyncio.run(store.get("o", "s")))
        except UnavailableError as error:
            told.append(error)
        finally:
            asyncio.run(store.aclose())

    for n in range(40):
        work = partial(open_one, tmp_path / f"{n}.sqlite", threading.Barrier(8))
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert told == [None] * 320
