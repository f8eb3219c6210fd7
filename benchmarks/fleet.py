"""Starts servers for a run: one folder, one port and one core each, until they answer."""

import shutil
import time
from contextlib import ExitStack

import msgspec

from benchmarks.paths import build, subfolder
from benchmarks.processes import BenchError, Child, pinned, settle
from benchmarks.programs import Mock, drive
from benchmarks.results import Load
from benchmarks.servers import SERVERS, Launch, Site


class Cores(msgspec.Struct, frozen=True):
    """Which core the gateways share, and which one mock upstream and load generator share."""

    gateway: int = 0
    load: int = 1


class Running(msgspec.Struct, frozen=True):
    """A server that has answered its first request; `direct` has no process."""

    name: str
    port: int
    launch: Launch
    child: Child | None
    idle_mib: float


def start(name: str, port: int, mock: Mock, cores: Cores, stack: ExitStack) -> Running:
    """Starts a server; it ends with `stack`."""
    build_launch = SERVERS[name].launch
    if build_launch is None:
        return Running(name, mock.port, Launch(argv=[]), None, 0.0)
    folder = build() / "sites" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    launch = build_launch(Site(folder, port, mock.port))
    log = subfolder("logs") / f"{name}.log"
    child = Child(name, pinned(cores.gateway, launch.argv), log=log, env=launch.env)
    stack.callback(child.stop)
    child.wait_for_port(port, launch.startup_seconds)
    _wait_for_answer(child, port, launch, cores.load)
    settle([child])
    return Running(name, port, launch, child, child.rss_mib())


def _wait_for_answer(child: Child, port: int, launch: Launch, core: int) -> None:
    """One streamed and one whole answer, or a clear error."""
    for stream in ("1", "0"):
        end = time.monotonic() + launch.startup_seconds
        while True:
            tried = drive(port, core, ["-r", "1", "-n", "3", "-s", stream, *launch.load_args])
            if tried.ok:
                break
            child.check()
            if time.monotonic() > end:
                raise BenchError(f"{child.name} does not answer:{wrong(tried)}; see {child.log}")
            time.sleep(0.2)


def wrong(load: Load) -> str:
    """What went wrong in a drive; nothing when all was well."""
    if load.ok == load.wanted:
        return ""
    return (
        f"  !! {load.ok} of {load.wanted} ok: {load.bad_status} bad status, {load.bad_count} wrong "
        f"count ({load.bad_example}), {load.errors} connection errors {load.said[:200]}"
    )
