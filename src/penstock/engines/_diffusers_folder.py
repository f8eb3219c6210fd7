"""Which pipelines there are at a path."""

import re
from pathlib import Path
from typing import Final

import msgspec

from penstock.config import paths
from penstock.core.cards import ModelCard
from penstock.core.errors import ConfigError
from penstock.wire import json

INDEX: Final = "model_index.json"
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class _Index(msgspec.Struct, frozen=True):
    kind: object = msgspec.field(name="_class_name", default="")


class Pipeline(msgspec.Struct, frozen=True):
    """`source`: a folder, or a hub id."""

    name: str
    source: str
    card: ModelCard


def find(path: str) -> dict[str, Pipeline]:
    """Every pipeline, by name. Blocks on the disk. Raises `ConfigError` naming `path`."""
    folder = paths.place(path)
    if (folder / INDEX).is_file():
        return {folder.resolve().name: _read(folder)}
    if folder.is_dir():
        found = {p.parent.name: _read(p.parent) for p in sorted(folder.glob(f"*/{INDEX}"))}
        if not found:
            raise ConfigError(
                f"there is no {INDEX} in this folder or in a folder of it: no pipeline",
                param="path",
            )
        return found
    if _HUB_ID.fullmatch(path):
        return {path: Pipeline(path, path, _card(path))}
    raise ConfigError(f"there is no folder {folder.name!r}, and it is no hub id", param="path")


def _read(folder: Path) -> Pipeline:
    try:
        kind = json.decode((folder / INDEX).read_bytes(), _Index, ConfigError).kind
    except ConfigError as error:
        raise ConfigError(f"{folder.name}/{INDEX}: {error.message}", param="path") from error
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    name = folder.resolve().name
    return Pipeline(name, str(folder.resolve()), _card(name, str(kind), size))


def _card(name: str, kind: str | None = None, size: int | None = None) -> ModelCard:
    return ModelCard(
        name=name,
        size=size,
        format="diffusers",
        family=kind,
        inputs=("text", "image"),
        outputs=("image",),
    )
