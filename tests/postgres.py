"""A real PostgreSQL in a folder of its own, for the tests that ask for one."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from tests.integration.serving import free_port

PASSWORD = "sesame-7f3a9c"
SECONDS = 30.0


@contextmanager
def serving_postgres() -> Iterator[str]:
    """The URL of an empty database. The server is stopped, and its files removed, at the end."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-postgres-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:  # which PostgreSQL refuses to run as
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres")
        with _started(folder) as port:
            yield f"postgresql://penstock:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder)


@contextmanager
def _started(folder: Path) -> Iterator[int]:
    data, port = folder / "data", free_port()
    subprocess.run(
        [
            *(*_as_somebody(), _program("initdb"), "-D", str(data), "-U", "penstock", "-E", "UTF8"),
            *("--no-locale", "--no-sync", "-A", "scram-sha-256", f"--pwfile={folder}/password"),
        ],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    command = [*_as_somebody(), _program("postgres"), "-D", str(data), "-p", str(port)]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    with (folder / "said.log").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, cwd=folder)
    try:
        _wait(f"postgresql://penstock:{PASSWORD}@127.0.0.1:{port}/postgres", process)
        yield port
    finally:
        # Its own process id: `runuser` would not pass every signal on.
        pid_file = data / "postmaster.pid"
        if pid_file.exists():
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGINT)
        process.wait(SECONDS)


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + SECONDS
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            assert process.poll() is None, "PostgreSQL did not start"
            assert time.monotonic() < until, "PostgreSQL does not answer"
            time.sleep(0.1)
        else:
            return


def empty(url: str) -> None:
    """As if nobody had ever used the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def _as_somebody() -> list[str]:
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


def _program(name: str) -> str:
    """Debian keeps them out of the path."""
    found = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))]
    program = found[-1] if found else shutil.which(name)
    assert program is not None, f"no {name}: apt-get install postgresql"
    return program
