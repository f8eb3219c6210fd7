"""The store's folder: contents by their digest, a manifest a name, parts of downloads, locks.

    files/SHA256.gguf     a content, once; what an engine serves. A model in parts has a file each,
                          SHA256-00001-of-00003.gguf: of what `joined` says, and llama.cpp finds
                          the others beside the first by their names
    names/NAME.json       a manifest; NAME is percent-encoded
    blobs/SHA256          uploaded, in no model yet
    parts/SHA256.part     not whole yet
    locks/                held with `flock` while somebody fetches a content, or changes names

What is seen under `files`, `names` and `blobs` is whole: it was written under another name, brought
to the disk and renamed. Everything here blocks on the disk.
"""

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Final
from urllib.parse import quote, unquote

from penstock.core.errors import ConfigError, InvalidRequestError, UnknownModelError
from penstock.core.stores import StoredModel
from penstock.wire import json

_ABANDONED_SECONDS: Final = 24 * 3600
"""Who uploads and then creates, or pulls, names what came within moments, and never after a day."""
_FORGOTTEN_SECONDS: Final = 14 * _ABANDONED_SECONDS
_JUST_NOW_NS: Final = 100_000_000
_SUFFIX: Final = ".json"
_DIGITS: Final = 64
_CONTENT: Final = re.compile(rf"[0-9a-f]{{{_DIGITS}}}(-\d{{5}}-of-\d{{5}})?\.gguf")


class Folder:
    """Of one store. Several processes may use it at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = root / "files"
        self._names = root / "names"
        self._blobs = root / "blobs"
        self._parts = root / "parts"
        self._locks = root / "locks"
        self._known: dict[str, StoredModel] = {}
        self._looked = -1

    def make(self) -> None:
        """Makes it, for the owner alone. Raises `ConfigError` where that can't be."""
        try:
            for folder in (self.root, self.files, self._names, self._blobs, self._parts):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._locks.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"paths.models_folder: can't be used: {error.strerror}", param="paths.models_folder"
            ) from error

    # ── names ────────────────────────────────────────────────────────────────────────────────────

    def models(self) -> dict[str, StoredModel]:
        """All manifests by full name, in their order; read anew when another process wrote one."""
        try:
            changed = self._names.stat().st_mtime_ns
        except OSError:
            self._known, self._looked = {}, -1
            return self._known
        if changed != self._looked:
            now = time.time_ns()
            self._known = dict(self._read())
            # A folder's time moves in ticks: what was written within this one would be missed.
            self._looked = changed if now - changed > _JUST_NOW_NS else -1
        return self._known

    def _read(self) -> Iterator[tuple[str, StoredModel]]:
        for path in sorted(self._names.glob("*" + _SUFFIX)):
            with suppress(ConfigError, OSError):
                model = json.decode(path.read_bytes(), StoredModel, ConfigError)
                if model.name == unquote(path.name.removesuffix(_SUFFIX)):
                    yield model.name, model

    def write(self, model: StoredModel) -> None:
        """Names a content that is there. Raises `UnknownModelError` when it has just gone."""
        with self.names_locked():
            if not (self.files / model.file).is_file():
                raise UnknownModelError("the model was deleted meanwhile", param="model")
            before = self.models().get(model.name)
            atomically(self._manifest(model.name), json.encode(model))
            if before is not None and before.digest != model.digest:
                self._drop(before.digest)

    def delete(self, name: str) -> bool:
        """Forgets a name, and its content when that was the last one; false for no such name."""
        with self.names_locked():
            model = self.models().get(name)
            if model is None:
                return False
            self._manifest(name).unlink(missing_ok=True)
            self._drop(model.digest)
            return True

    def _drop(self, sha256: str) -> None:
        self._looked = -1
        if all(model.digest != sha256 for model in self.models().values()):
            # The first of several goes first: by that one engines know that there is a model.
            for path in sorted(_inside(self.files, f"{sha256}*")):
                path.unlink(missing_ok=True)

    def _manifest(self, name: str) -> Path:
        return self._names / (quote(name, safe="") + _SUFFIX)

    # ── contents ─────────────────────────────────────────────────────────────────────────────────

    def content(self, sha256: str) -> Path:
        """Where a model's content is, or is to be."""
        return self.files / f"{sha256}.gguf"

    def contents(self, digests: Sequence[str]) -> list[Path]:
        """The same for a model whose parts, in their order, have these digests."""
        if len(digests) == 1:
            return [self.content(digests[0])]
        name, count = joined(digests), len(digests)
        return [self.files / f"{name}-{n:05}-of-{count:05}.gguf" for n in range(1, count + 1)]

    def blob(self, sha256: str) -> Path:
        """Where an upload is, or is to be."""
        return self._blobs / sha256

    def part(self, sha256: str) -> Path:
        """What of a download is there."""
        return self._parts / f"{sha256}.part"

    def note(self, sha256: str) -> Path:
        """What the server said about it: its entity tag."""
        return self._parts / f"{sha256}.etag"

    def fresh(self) -> Path:
        """A name for a file that is being written."""
        return self._parts / f"{token_hex(8)}.new"

    # ── what nobody needs ────────────────────────────────────────────────────────────────────────

    def claim(self, path: Path) -> bool:
        """Whether a content or an upload is there; if so, it stays for a day."""
        if not path.is_file():
            return False
        with self.names_locked():
            return self._use(path)

    def place(self, fresh: Path, target: Path) -> None:
        """Gives a content its place, for a day if it gets no name. If it is there, `fresh` goes."""
        with self.names_locked():
            if self._use(target):
                fresh.unlink()
            else:
                os.utime(fresh)
                settle(fresh, target)

    def _use(self, path: Path) -> bool:
        if not path.is_file():
            return False
        # The time of a content that has a name is what engines know it by.
        if all(model.digest != path.name[:_DIGITS] for model in self.models().values()):
            os.utime(path)
        return True

    def collect(self) -> None:
        """Deletes contents without a name, uploads that no model was made of and what died while
        it was written, once they are a day old; parts of downloads that nobody took up again,
        after two weeks.

        Whoever uses a content has claimed it under the lock of the names, so it is not that old;
        a part in use is locked. Holds among all processes of one folder.
        """
        if not self._locks.is_dir():
            return
        with self.names_locked():
            _delete_old(self._uncalled(), _ABANDONED_SECONDS)
            _delete_old(_inside(self._blobs, "*"), _ABANDONED_SECONDS)
        _delete_old(_inside(self._parts, "*.new"), _ABANDONED_SECONDS)
        _delete_old(_inside(self._names, ".*.new"), _ABANDONED_SECONDS)
        for path in (*_inside(self._parts, "*.part"), *_inside(self._parts, "*.etag")):
            held = self.try_lock(path.stem)
            if held is not None:
                try:
                    _delete_old([path], _FORGOTTEN_SECONDS)
                finally:
                    os.close(held)

    def _uncalled(self) -> list[Path]:
        """Contents that no name stands for. A name that can't be read may stand for any."""
        self._looked = -1
        named = {model.digest for model in self.models().values()}
        if len(_inside(self._names, "[!.]*" + _SUFFIX)) != len(self.models()):
            return []
        contents = (path for path in _inside(self.files, "*") if _CONTENT.fullmatch(path.name))
        return [path for path in contents if path.name[:_DIGITS] not in named]

    # ── locks ────────────────────────────────────────────────────────────────────────────────────

    def try_lock(self, sha256: str) -> int | None:
        """A descriptor that holds this content's lock until it is closed; `None`: it is taken."""
        held = os.open(self._locks / sha256, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            return None
        return held

    @contextmanager
    def names_locked(self) -> Iterator[None]:
        """Nobody else changes names inside."""
        held = os.open(self._locks / "names", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield
        finally:
            os.close(held)


def atomically(path: Path, data: bytes) -> None:
    """Writes a file so that it is whole or not there, whatever dies meanwhile."""
    fresh = path.with_name(f".{token_hex(8)}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        settle(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def settle(fresh: Path, path: Path) -> None:
    """Gives a file that is on the disk its name, and brings the name to the disk."""
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def joined(digests: Sequence[str]) -> str:
    """The digest that stands for a model's parts: of their digests in their order, each as
    hexadecimal digits with a newline; the only one's own.
    """
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{one}\n" for one in digests).encode()).hexdigest()


def _inside(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


def _delete_old(paths: Iterable[Path], seconds: float) -> None:
    now = time.time()
    for path in paths:
        with suppress(OSError):
            if now - path.stat().st_mtime > seconds:
                path.unlink()


def digest(text: str, param: str) -> str:
    """64 hex digits, with or without `sha256:`. Raises `InvalidRequestError`."""
    found = text.removeprefix("sha256:").lower()
    if len(found) != 64 or any(c not in "0123456789abcdef" for c in found):
        raise InvalidRequestError("expected sha256: and 64 hex digits", param=param)
    return found
