"""One segment file that this process appends to, and what is on its way into it."""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from penstock.core.events import Entry
from penstock.core.ports import StreamState
from penstock.streams.journal._live import Live


class Segment:
    """One file that this process appends to. The lock on it says that its writer lives."""

    def __init__(self, folder: Path, name: str, opened: int) -> None:
        self.name = name
        self.path = folder / name
        self.opened = opened
        self.last = opened
        self.size = 0
        self.shown = 0
        self.fresh = True
        self.retired = False
        unborn = folder / (name + ".new")
        self.fd = os.open(unborn, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            # Under its real name a segment is never seen without its lock.
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unborn.rename(self.path)
        except OSError:
            self.close()
            unborn.unlink(missing_ok=True)
            raise

    def sync(self) -> None:
        """Forces it to the disk; in a thread."""
        os.fdatasync(self.fd)
        if self.fresh:
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self.fresh = False

    def close(self) -> None:
        """Lets go of file and lock."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Handed(msgspec.Struct, gc=False):
    """A record on its way into the log. `first` is its first seq, 0 for a head."""

    live: Live
    record: bytes
    entries: Sequence[Entry]
    first: int
    state: StreamState


class Turn(msgspec.Struct, gc=False):
    """What one turn wrote: where, and when the first of it was handed over."""

    handed: list[Handed]
    segment: Segment
    offset: int
    since: float
