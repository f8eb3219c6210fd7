"""How each server is started. Add a function and a row to measure another one beside them."""

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks import peers
from benchmarks.paths import SOURCES
from benchmarks.processes import BenchError, program


class Site(msgspec.Struct, frozen=True):
    """Where one server runs: a folder of its own, its port, and the mock's port."""

    folder: Path
    port: int
    upstream: int


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A command, and what the load generator must add for this server."""

    argv: list[str]
    env: dict[str, str] = {}
    load_args: tuple[str, ...] = ()
    startup_seconds: float = 30.0


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table. `effort` scales how many requests are sent: fast servers need more.

    `loads`: the only ones that it takes part in; empty for all.
    """

    launch: Callable[[Site], Launch] | None
    effort: float = 1.0
    w1_requests: int = 400
    loads: tuple[str, ...] = ()


def nginx(site: Site) -> Launch:
    """A reverse proxy that checks the key and relays bytes: the limit."""
    binary = program("nginx", "apt-get install nginx-light")
    (site.folder / "tmp").mkdir(exist_ok=True)
    config = _write(site, "nginx.conf")
    return Launch(argv=[binary, "-e", "stderr", "-p", str(site.folder), "-c", str(config)])


def litellm(site: Site) -> Launch:
    """LiteLLM's proxy, one worker, quiet."""
    config = _write(site, "litellm.yaml")
    address = ["--host", "127.0.0.1", "--port", str(site.port)]
    return Launch(
        argv=[*peers.litellm(), "--config", str(config), *address, "--num_workers", "1"],
        env={
            "PYTHONPATH": "",
            "LITELLM_LOG": "ERROR",
            "LITELLM_TELEMETRY": "False",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "NO_DOCS": "True",
        },
        startup_seconds=120,
    )


def portkey(site: Site) -> Launch:
    """Portkey's gateway; it is told where to go by headers and checks no key."""
    upstream = f"x-portkey-custom-host: http://127.0.0.1:{site.upstream}/v1"
    return Launch(
        argv=[*peers.portkey(), "--headless", f"--port={site.port}"],
        env={"NODE_ENV": "production"},
        load_args=("-H", "x-portkey-provider: openai", "-H", upstream),
    )


def penstock(site: Site) -> Launch:
    """Penstock as a user starts it: journal, `sync = "interval"`, metrics, one key."""
    return _penstock(site, "")


def penstock_always(site: Site) -> Launch:
    """The same, each event forced to the disk before anybody sees it."""
    return _penstock(site, 'sync = "always"')


def penstock_memory(site: Site) -> Launch:
    """The same with the log in memory."""
    return _penstock(site, 'log = "memory"')


SERVERS: dict[str, Server] = {
    "direct": Server(launch=None, effort=3),
    "nginx": Server(launch=nginx, effort=3),
    "litellm": Server(launch=litellm, effort=1 / 8, w1_requests=150),
    "portkey": Server(launch=portkey, w1_requests=150),
    "penstock": Server(launch=penstock),
    "penstock-always": Server(launch=penstock_always, loads=("W1", "W3a")),
    "penstock-memory": Server(launch=penstock_memory),
}


def penstock_command() -> list[str]:
    """The command as it is installed beside this Python."""
    command = Path(sys.executable).parent / "penstock"
    if not command.exists():
        raise BenchError(f"{command} is missing: install the project into this environment")
    return [str(command)]


def written(folder: Path, name: str, values: dict[str, str]) -> Path:
    """A file of `conf/` with its @NAMES@ filled in."""
    text = (SOURCES / "conf" / name).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    target = folder / name
    target.write_text(text)
    return target


def _penstock(site: Site, streams: str) -> Launch:
    config = _write(site, "penstock.toml", streams)
    address = ["--config", str(config), "--port", str(site.port)]
    return Launch(argv=[*penstock_command(), "serve", *address])


def _write(site: Site, name: str, streams: str = "") -> Path:
    values = {
        "PORT": str(site.port),
        "UPSTREAM": str(site.upstream),
        "FOLDER": str(site.folder),
        "STREAMS": streams,
    }
    return written(site.folder, name, values)
