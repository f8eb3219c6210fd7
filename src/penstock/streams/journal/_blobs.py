"""Big payloads, each kept once in a file that is named by its content."""

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from penstock.core.errors import LogUnavailableError
from penstock.streams.journal._records import BlobReference
from penstock.streams.journal.index import Index

INLINE: Final = 64 * 1024
"""Larger payloads go to a file of their own, so that a turn's write stays small."""


class Blobs:
    """The folder `blobs/`. What is here is named in the index before it is named in a record.

    The index's write lock is held while a file comes or goes, so that a blob that one process has
    just found there can't be deleted by another before it is named.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Where the blob of that SHA-256 lies."""
        return self._folder / name[:2] / name

    def put(self, index: Index, stream: str, data: bytes, now: int) -> BlobReference:
        """Keeps `data`, on stable storage, for a stream; in a thread. Raises `OSError`."""
        blob = BlobReference(sha256(data).hexdigest(), len(data))
        path = self.path(blob.sha256)
        with index.begin():
            index.name_blob(stream, blob, now)
            if not path.exists():
                path.parent.mkdir(mode=0o700, exist_ok=True)
                _write(path, data)
        return blob

    def get(self, blob: BlobReference) -> bytes:
        """Its bytes; raises `FileNotFoundError` when it was forgotten."""
        data = self.path(blob.sha256).read_bytes()
        if len(data) != blob.size or sha256(data).hexdigest() != blob.sha256:
            raise LogUnavailableError("a part of this stream is damaged on the disk")
        return data

    def drop(self, names: Iterable[str]) -> None:
        """Deletes blobs that nobody names, inside the index's transaction that found them."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def all(self) -> dict[str, int]:
        """Every blob and its size in bytes."""
        return {
            path.name: path.stat().st_size
            for path in self._folder.glob("??/*")
            if not path.name.endswith(".new")
        }


def _write(path: Path, data: bytes) -> None:
    unborn = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    fd = os.open(unborn, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fdatasync(fd)
        unborn.rename(path)
    except OSError:
        with suppress(OSError):
            unborn.unlink()
        raise
    finally:
        os.close(fd)
