"""One database, used from threads of its own so that nothing waits on the event loop."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from sqlite3 import OperationalError
from threading import Lock
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, insert, make_url, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from penstock.config.schema import Stores
from penstock.core.errors import ConfigError, UnavailableError
from penstock.stores import _tables
from penstock.stores._threads import finished

logger = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Connection], T]

_PARAM: Final = "stores.url"
_THREADS: Final = 4
_BUSY_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 0.01
_CONNECT_SECONDS: Final = 5
_RETRY_SECONDS: Final = 2.0
_OURS: Final = 0x70656E73
"""The advisory lock under which the tables are made: "pens"."""


class Database:
    """Opened at its first use. `file` is SQLite's, where `[stores] url` names nothing else.

    Raises `ConfigError` for a URL that names no database we know, `UnavailableError` for a database
    that can't be reached, is locked or is full. Neither ever shows the URL.
    """

    def __init__(self, settings: Stores, file: Path) -> None:
        self._url = _url(settings, file)
        self._secrets = _secrets(settings, self._url)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="penstock-store")
        self._engine: Engine | None = None
        self._preparing = Lock()
        self._closed = False

    async def read(self, work: Work[T]) -> T:
        """What `work` returns, run in a thread, in a transaction that writes nothing."""
        return await self._run(work, writes=False)

    async def write(self, work: Work[T]) -> T:
        """The same in a transaction that is on the disk when this returns. All of it or nothing.

        When this is cancelled the transaction has ended too: what is written next comes after it.
        """
        return await self._run(work, writes=True)

    async def aclose(self) -> None:
        """Waits for what runs, then closes every connection. May be called again."""
        self._closed = True
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._pool.shutdown(wait=True)
        if self._engine is not None:
            self._engine.dispose()

    async def _run(self, work: Work[T], *, writes: bool) -> T:
        if self._closed:
            raise UnavailableError("the database is closed", retry_after=_RETRY_SECONDS)
        if writes:
            return await finished(self._pool, self._work, work, writes)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._work, work, writes)

    def _work(self, work: Work[T], writes: bool) -> T:
        try:
            engine = self._prepared().execution_options(penstock_writes=writes)
            with engine.begin() as connection:
                return work(connection)
        except (SQLAlchemyError, OSError) as error:
            # Only its words are logged, and no chain is kept: a driver's error may hold the URL.
            logger.warning("the database failed: %s", self._told(error))
            trouble = _trouble(error)
        raise UnavailableError(trouble, retry_after=_RETRY_SECONDS)

    def _told(self, error: SQLAlchemyError | OSError) -> str:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        words = " ".join(str(cause).split())[:300]
        for secret in self._secrets:
            words = words.replace(secret, "***")
        return f"{type(cause).__name__}: {words}"

    def _prepared(self) -> Engine:
        with self._preparing:
            if self._engine is None:
                engine = _engine(self._url)
                try:
                    with engine.execution_options(penstock_writes=True).begin() as connection:
                        _make_tables(connection)
                except (SQLAlchemyError, ConfigError):
                    engine.dispose()
                    raise
                self._engine = engine
            return self._engine


def _url(settings: Stores, file: Path) -> URL:
    if settings.url is None:
        return URL.create("sqlite", database=str(file))
    try:
        url = make_url(settings.url.reveal())
    except (ArgumentError, ValueError):
        url = None
    if url is None:  # outside `except`: the library's error may show the URL
        raise ConfigError(
            f"{_PARAM}: not a database URL; expected postgresql://USER:PASSWORD@HOST/NAME or "
            "sqlite:////PATH",
            param=_PARAM,
        )
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername == "sqlite" and url.database not in (None, "", ":memory:"):
        return url
    raise ConfigError(
        f"{_PARAM}: expected postgresql://… or sqlite:////PATH, not {url.drivername!r}",
        param=_PARAM,
    )


def _secrets(settings: Stores, url: URL) -> tuple[str, ...]:
    whole = settings.url.reveal() if settings.url is not None else ""
    quoted = whole.partition("://")[2].rpartition("@")[0].partition(":")[2]
    found = {whole, quoted, str(url.password or "")}
    return tuple(sorted(found - {""}, key=len, reverse=True))


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        _make_file(Path(str(url.database)))
        engine = create_engine(
            url, connect_args={"timeout": _BUSY_SECONDS}, pool_size=_THREADS, hide_parameters=True
        )
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        return create_engine(
            url,
            connect_args={"connect_timeout": _CONNECT_SECONDS},
            pool_size=_THREADS,
            pool_pre_ping=True,  # a restarted server is met with new connections
            hide_parameters=True,
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise ConfigError(
            f"{_PARAM}: PostgreSQL needs 'psycopg': pip install 'penstock[postgres]'", param=_PARAM
        ) from error


def _make_file(file: Path) -> None:
    """Made here, because SQLite would give it the umask's mode; its `-wal` and `-shm` follow it."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _set_up_sqlite(connection: SqliteConnection, _record: object) -> None:
    connection.isolation_level = None  # `begin` is ours: the driver begins too late, and only reads
    # FULL: what is said to be kept survives the loss of power too.
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    _keep_a_wal(connection)


def _keep_a_wal(connection: SqliteConnection) -> None:
    """SQLite's timeout does not hold for this: while another one turns the same new file into one
    with a WAL, it says at once that the file is locked.
    """
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    """A transaction that will write takes its lock first: waiting for it later would be a deadlock,
    which SQLite answers with an error at once.
    """
    writes = connection.get_execution_options().get("penstock_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _make_tables(connection: Connection) -> None:
    """Once for all processes. Raises `ConfigError` for a database of a newer Penstock."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:ours)"), {"ours": _OURS})
    _tables.metadata.create_all(connection)
    found = connection.execute(select(_tables.schema.c.version)).scalar()
    if found is None:
        connection.execute(insert(_tables.schema).values(version=_tables.VERSION))
    elif found > _tables.VERSION:
        raise ConfigError(
            f"{_PARAM}: the database was made by a newer Penstock (its schema is {found}, this one "
            f"knows {_tables.VERSION}); upgrade, or use another database",
            param=_PARAM,
        )


def _trouble(error: SQLAlchemyError | OSError) -> str:
    words = str(error.orig if isinstance(error, DBAPIError) else error).lower()
    if "locked" in words or "busy" in words:
        return "the database is busy; try again shortly"
    if "full" in words or "no space" in words:
        return "the database can't be written: its disk is full"
    if "readonly" in words or "read-only" in words or "permission denied" in words:
        return "the database can't be written"
    if "connect" in words or "unable to open" in words or "closed" in words:
        return "the database can't be reached"
    return "the database failed"
