"""A journal's folder seen from outside: made ready, looked at, its index made anew. Blocking."""

from asyncio import get_running_loop
from collections.abc import Collection
from pathlib import Path

import msgspec

from penstock.core.errors import ConfigError
from penstock.core.ports import Head
from penstock.streams.journal import recovery
from penstock.streams.journal._blobs import Blobs
from penstock.streams.journal.archive import Archive
from penstock.streams.journal.index import VERSION, Index, move_aside, version


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in a folder. `bytes`: of segments and blobs together.

    `index_version` is `None` without an index and -1 for a damaged one; `index_current` says
    whether this version of Penstock can use it as it is. `unindexed` segments are scanned by the
    next start. `in_use`: a process has the journal open now.
    """

    segments: int
    blobs: int
    bytes: int
    streams: int
    index_version: int | None
    index_current: bool
    unindexed: int
    in_use: bool


def prepare(folder: Path) -> None:
    """Makes the folders, for us alone, and moves an index of another version out of the way.

    Raises `OSError`, and `ConfigError` while a process uses that other index.
    """
    for path in (folder, folder / "segments", folder / "blobs"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = version(folder)
    if found not in (None, VERSION):
        if _in_use(folder):
            raise ConfigError(
                "streams.folder: another version of Penstock is using it", param="streams.folder"
            )
        move_aside(folder)


def inspect(folder: Path) -> Inspection:
    """Looks without changing anything."""
    segments = {name: (folder / "segments" / name) for name in _names(folder)}
    blobs = Blobs(folder / "blobs").all()
    found = version(folder)
    streams = 0
    sealed: set[str] = set()
    if found == VERSION:
        index = Index(folder)
        try:
            streams = len(index.states())
            sealed = {name for name, row in index.segments().items() if row.sealed}
        finally:
            index.close()
    return Inspection(
        segments=len(segments),
        blobs=len(blobs),
        bytes=sum(path.stat().st_size for path in segments.values()) + sum(blobs.values()),
        streams=streams,
        index_version=found,
        index_current=found == VERSION,
        unindexed=len(segments.keys() - sealed),
        in_use=_in_use(folder),
    )


async def inspect_heads(folder: Path, streams: Collection[str]) -> dict[str, Head]:
    """The heads of those of these streams that the index knows, read beside a running process."""

    def read() -> dict[str, Head]:
        archive = Archive(folder, Blobs(folder / "blobs"))
        index = Index(folder)
        try:
            rows = {stream: index.stream(stream) for stream in streams}
            return {s: archive.head_at(row.runs) for s, row in rows.items() if row is not None}
        finally:
            index.close()

    return await get_running_loop().run_in_executor(None, read)


def rebuild_index(folder: Path) -> Inspection:
    """Makes the index anew from the segments alone. The old one is kept as `index.sqlite.old`.

    Streams that a dead process left open stay so until the next start closes them. Raises
    `ConfigError` while a process has the journal open.
    """
    if _in_use(folder):
        raise ConfigError("streams.folder: a process is using it", param="streams.folder")
    prepare(folder)
    move_aside(folder)
    archive = Archive(folder, Blobs(folder / "blobs"))
    index = Index(folder)
    try:
        recovery.recover(index, archive, own="").release()
        known = index.blobs()
        with index.begin():
            archive.blobs.drop(name for name in archive.blobs.all() if name not in known)
    finally:
        index.close()
    return inspect(folder)


def _names(folder: Path) -> list[str]:
    return recovery.names(folder / "segments")


def _in_use(folder: Path) -> bool:
    writers = {recovery.writer_of(name) for name in _names(folder)}
    return any(recovery.is_alive(folder / "segments", writer) for writer in writers)
