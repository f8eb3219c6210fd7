"""Names of models: `name[:tag]` and `hf.co/ORG/REPO[:QUANT]`. A name is never a path."""

import re
from pathlib import Path
from typing import Final, NamedTuple

from penstock.core.errors import InvalidRequestError

_SEGMENT: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_NAME: Final = re.compile(rf"(?P<base>{_SEGMENT}(?:/{_SEGMENT}){{0,3}})(?::(?P<tag>{_SEGMENT}))?")
_LONGEST: Final = 200
_HUBS: Final = ("hf.co", "huggingface.co")
_LATEST: Final = "latest"


_PART: Final = re.compile(
    r"(?P<name>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})(?P<suffix>\.gguf)", re.IGNORECASE
)
_MOST_PARTS: Final = 1000


class Part(NamedTuple):
    """One of the files that a model was split in, as llama.cpp's tool names them: `name` is all
    of them's, with its suffix; they count from 1.
    """

    name: str
    part: int
    parts: int


class HubName(NamedTuple):
    """A model on the hub; `quant` as it was asked for, empty when it was not."""

    repo: str
    quant: str


def full(name: str, param: str = "model") -> str:
    """The name with its tag: `m` is `m:latest`, as Ollama's clients have it.

    Raises `InvalidRequestError` for what is no name; so what comes out can't leave a folder.
    """
    found = _NAME.fullmatch(name)
    if found is None or len(name) > _LONGEST or ".." in name:
        raise InvalidRequestError(
            f"{name[:_LONGEST]!r} is no model's name: name[:tag] or hf.co/ORG/REPO[:QUANT], of "
            "letters, digits, dots, dashes and underscores",
            param=param,
        )
    return f"{found['base']}:{found['tag'] or _LATEST}"


def part_of(file: str) -> Part | None:
    """What a file's name or path says about it; `None` for one that is whole."""
    found = _PART.fullmatch(file)
    if found is None or not 0 < int(found["part"]) <= int(found["parts"]) <= _MOST_PARTS:
        return None
    return Part(found["name"] + found["suffix"], int(found["part"]), int(found["parts"]))


def parts(path: Path) -> list[Path]:
    """The files of a model by its first, or its only one.

    Raises `InvalidRequestError` for another of them.
    """
    found = part_of(path.name)
    if found is None:
        return [path]
    stem, suffix = found.name[: -len(".gguf")], found.name[-len(".gguf") :]
    names = [f"{stem}-{n:05}-of-{found.parts:05}{suffix}" for n in range(1, found.parts + 1)]
    if found.part != 1:
        raise InvalidRequestError(
            f"{path.name} is part {found.part} of a model: name its first, {names[0]}",
            param="model",
        )
    return [path.with_name(name) for name in names]


def is_path(name: str) -> bool:
    """Whether somebody means a file: `./m.gguf`, `/models/m.gguf`, `~/m.gguf`."""
    if name.startswith((".", "/", "~")) or "\\" in name:
        return True
    # The hub shows the commands of others with a file's whole name as the tag.
    return name.lower().endswith(".gguf") and name.partition("/")[0] not in _HUBS


def on_hub(name: str) -> HubName | None:
    """What a full name means on the hub; `None` for a name of another kind.

    Raises `InvalidRequestError` for a hub's name that is not ORG/REPO.
    """
    base, _, tag = name.rpartition(":")
    host, _, repo = base.partition("/")
    if host not in _HUBS:
        return None
    if repo.count("/") != 1:
        raise InvalidRequestError(
            f"{name!r}: a model of the hub is named hf.co/ORG/REPO[:QUANT]", param="model"
        )
    return HubName(repo, "" if tag == _LATEST else tag)
