"""The GGUF files of a path: one, or those of a folder without the broken and the modelless."""

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from penstock.core.cards import ModelCard
from penstock.core.errors import ConfigError, GatewayError
from penstock.engines import _gguf
from penstock.engines._gguf import ModelFile

_log = logging.getLogger(__name__)
_SHARD: Final = re.compile(r"(?P<name>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})")


def find(path: Path) -> dict[str, ModelFile]:
    """Models by name, in the order of their names. Blocks on the disk.

    Raises `ConfigError` (`param` is `path`) when there is none: about the file, or about the first
    broken one of the folder. Broken ones beside whole ones are only logged.
    """
    if not path.is_dir():
        file = whole(path)
        return {name(file.path): file}
    found: dict[str, ModelFile] = {}
    trouble: list[GatewayError] = []
    for candidate in _candidates(path):
        try:
            file = whole(candidate)
        except ConfigError as error:
            _log.warning("left out: %s", error)
            trouble.append(error)
            continue
        if file.kind == "model" and file.architecture != "clip":
            found[name(candidate)] = file
    if not found:
        raise (
            trouble[0]
            if trouble
            else ConfigError(f"there is no GGUF file in the folder {path.name}", param="path")
        )
    return found


def there(folder: Path, known: Mapping[str, ModelFile]) -> dict[str, ModelFile]:
    """The models of a folder that may be empty or not there yet; those that can't be read are
    left out. Headers that are `known` aren't read again while their files stay as they are.
    """
    found: dict[str, ModelFile] = {}
    try:
        paths = list(_candidates(folder)) if folder.is_dir() else []
    except ConfigError as error:
        _log.warning("left out: %s", error)
        paths = []
    for path in paths:
        file = known.get(name(path))
        try:
            if file is None or not _as_it_was(file, path):
                file = whole(path)
        except ConfigError as error:
            _log.warning("left out: %s", error)
            continue
        if file.kind == "model" and file.architecture != "clip":
            found[name(path)] = file
    return found


def _as_it_was(file: ModelFile, path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    shard = _SHARD.fullmatch(path.stem) is not None
    same = shard or status.st_size == file.size
    return file.path == path and same and int(status.st_mtime) == file.modified


def card(name: str, file: ModelFile, digest: str | None = None) -> ModelCard:
    """What a listing says about it."""
    return ModelCard(
        name=name,
        modified=file.modified,
        size=file.size,
        quantization=file.quantization,
        format="gguf",
        family=file.architecture,
        parameter_size=file.parameter_size,
        context_size=file.context_length,
        license=file.license,
        digest=digest,
    )


def _candidates(folder: Path) -> Iterator[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise ConfigError(
            f"the folder {folder.name} can't be read: {error.strerror}", param="path"
        ) from error
    for path in paths:
        shard = _SHARD.fullmatch(path.stem)
        if path.suffix.lower() == ".gguf" and (shard is None or int(shard["part"]) == 1):
            yield path


def name(path: Path) -> str:
    """What a model is called: its file without the suffix, and without the number of its part."""
    shard = _SHARD.fullmatch(path.stem)
    return shard["name"] if shard else path.stem


def parts(path: Path) -> list[Path]:
    """The files of a model, by its first."""
    shard = _SHARD.fullmatch(path.stem)
    if shard is None:
        return [path]
    return [
        path.with_name(f"{shard['name']}-{part:05}-of-{shard['parts']}{path.suffix}")
        for part in range(1, int(shard["parts"]) + 1)
    ]


def whole(path: Path) -> ModelFile:
    """The file, and for the first of several all of them. Raises `ConfigError`."""
    file = _gguf.read(path)
    more = parts(path)[1:]
    return replace(file, size=file.size + sum(_gguf.read(part).size for part in more))
