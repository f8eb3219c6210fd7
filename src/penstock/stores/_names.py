"""Names of models: `name[:tag]` and `hf.co/ORG/REPO[:QUANT]`. A name is never a path."""

import re
from typing import Final, NamedTuple

from penstock.core.errors import InvalidRequestError

_SEGMENT: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_NAME: Final = re.compile(rf"(?P<base>{_SEGMENT}(?:/{_SEGMENT}){{0,3}})(?::(?P<tag>{_SEGMENT}))?")
_LONGEST: Final = 200
_HUBS: Final = ("hf.co", "huggingface.co")
_LATEST: Final = "latest"


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
    base = re.sub(r"^(?:huggingface\.co)/", "hf.co/", found["base"])
    return f"{base}:{found['tag'] or _LATEST}"


def is_path(name: str) -> bool:
    """Whether somebody means a file: `./m.gguf`, `/models/m.gguf`, `~/m.gguf`."""
    return name.startswith((".", "/", "~")) or "\\" in name or name.lower().endswith(".gguf")


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
