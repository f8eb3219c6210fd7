"""What `penstock doctor` looks at. Each check says what it found, and what to do about it."""

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import disk_usage
from typing import Final, Literal

import msgspec

from penstock.config import personalities
from penstock.config.schema import Config
from penstock.core.errors import GatewayError

State = Literal["ok", "note", "broken"]

_MIB: Final = 1024**2
_FULL: Final = 64 * _MIB
_TIGHT: Final = 1024 * _MIB
_SKEW_SECONDS: Final = 300.0
_OLDEST: Final = 1_735_689_600.0
"""2025-01-01: Penstock is younger."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `fix` says what to do when it is not `ok`."""

    check: str
    state: State
    found: str
    fix: str = ""


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal says about its folder; see `penstock.streams.journal.Inspection`."""

    segments: int
    bytes: int
    streams: int
    index_version: int | None
    index_current: bool
    unindexed: int
    in_use: bool


def readable_keys(path: Path) -> Finding:
    """Whether others can read a configuration file that holds keys."""
    mode = path.stat().st_mode & 0o777
    if mode & 0o077 and _holds_key(path.read_text(encoding="utf-8", errors="replace")):
        return Finding(
            "configuration",
            "note",
            f"{path} holds keys, and others can read it ({mode:o})",
            f'chmod 600 {path}, or write {{ env = "NAME" }} instead of the key',
        )
    return Finding("configuration", "ok", f"{path} is valid")


def _holds_key(text: str) -> bool:
    names = ("key", "keys", "token", "allowed_api_keys", "admin_keys")
    for line in text.splitlines():
        name, sign, value = line.partition("=")
        if sign and name.strip() in names and '"' in value and "env" not in value.partition('"')[0]:
            return True
    return False


def speakers(config: Config) -> Iterator[Finding]:
    """Whether the personalities can be used."""
    try:
        found = personalities.load(config)
    except GatewayError as error:
        yield Finding("personalities", "broken", error.message, "correct the file named here")
        return
    yield Finding("personalities", "ok", ", ".join(sorted(found)))
    for one in found.values():
        if one.trouble:
            yield Finding("personalities", "note", f"{one.name} can't be used", one.trouble)


def port(host: str, number: int, *, ours: bool) -> Finding:
    """Whether the port is free, or ours already. `ours`: a Penstock answers there."""
    where = f"{host}:{number}"
    if ours:
        return Finding("port", "ok", f"a Penstock listens on {where}")
    try:
        infos = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in infos[:1]:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except UnicodeError:  # of a name that can be none
        return _port_trouble(where, OSError(0, "no such name"))
    except OSError as error:
        return _port_trouble(where, error)
    return Finding("port", "ok", f"{where} is free")


def _port_trouble(where: str, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        return Finding(
            "port",
            "broken",
            f"{where} is taken by another program",
            "stop that program, or choose another [server] port",
        )
    if error.errno == errno.EACCES:
        return Finding(
            "port",
            "broken",
            f"{where} may not be listened on",
            "choose a [server] port above 1023",
        )
    return Finding(
        "port",
        "broken",
        f"{where}: {error.strerror or error}",
        "correct [server] host; 127.0.0.1 is this machine alone",
    )


def folder(config: Config, path: Path) -> Iterator[Finding]:
    """Whether the log's folder can be read and written, and by us alone."""
    streams = config.streams
    if streams.log != "journal":
        yield Finding("log folder", "ok", "the log is in memory; it ends with the server")
        return
    there, trouble = path, None
    try:
        there = next(parent for parent in (path, *path.parents) if parent.exists())
        trouble = _unusable(there, exists=there == path)
    except OSError as error:  # of a name that is too long, or a folder that is not ours
        trouble = f"{path} can't be used: {error.strerror}"
    if trouble is not None:
        yield Finding(
            "log folder",
            "broken",
            trouble,
            "make it yours (chown, chmod 700), or choose another [streams] folder",
        )
        return
    kept = f"kept {streams.retention_days:g} days, at most {streams.retention_bytes / _MIB:g} MiB"
    yield Finding("log folder", "ok", f"{path} ({kept})")
    if there == path and path.stat().st_mode & 0o077:
        yield Finding("log folder", "note", f"others can look into {path}", f"chmod 700 {path}")
    yield room(disk_usage(there).free)


def _unusable(path: Path, *, exists: bool) -> str | None:
    if not path.is_dir():
        return f"{path} is no folder"
    probe = path / f".penstock-doctor-{time.time_ns()}"
    try:
        if exists:
            next(path.iterdir(), None)
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        return f"{path} can't be used: {error.strerror}"
    return None


def room(free: int) -> Finding:
    """Whether the disk has room for the log. `free` in bytes."""
    shown = f"{free / _MIB:.0f} MiB free on the disk of the log"
    if free < _FULL:
        return Finding("disk", "broken", shown, "make room, or lower [streams] retention_bytes")
    if free < _TIGHT:
        return Finding("disk", "note", shown, "make room, or lower [streams] retention_bytes")
    return Finding("disk", "ok", shown)


def clock(now: float, path: Path) -> Finding:
    """Whether the clock makes sense beside what was written before. `now` since the epoch."""
    if now < _OLDEST:
        return Finding("clock", "broken", "the clock is years behind", "set the clock (NTP)")
    newest = max(_times(path), default=now)
    if newest > now + _SKEW_SECONDS:
        ahead = (newest - now) / 60
        return Finding(
            "clock",
            "broken",
            f"a file of the log was written {ahead:.0f} minutes from now",
            "set the clock (NTP); retention and listings go by it",
        )
    return Finding("clock", "ok", "the clock agrees with the log")


def _times(path: Path) -> Iterator[float]:
    for folder_ in (path, path / "segments"):
        with suppress(OSError):  # that it can't be read is what `folder` and `index` look at
            for file in folder_.iterdir():
                with suppress(FileNotFoundError):  # a running server forgets old segments
                    yield file.stat().st_mtime


def index(inspection: Inspection) -> Finding:
    """Whether the index fits the segments."""
    rebuild = "penstock doctor --rebuild-index, with no server running"
    if inspection.index_version == -1:
        return Finding("index", "broken", "the index is damaged", rebuild)
    if inspection.index_version is None and inspection.segments:
        return Finding("index", "note", "there is no index; the next start makes it", rebuild)
    if inspection.index_version is not None and not inspection.index_current:
        found = f"the index is of another version ({inspection.index_version})"
        return Finding("index", "broken", found, rebuild)
    shown = f"{inspection.streams} streams in {inspection.segments} segments"
    return Finding("index", "ok", f"{shown}, {inspection.bytes / _MIB:.1f} MiB")
