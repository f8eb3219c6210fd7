"""Names to modules. Our own folders first, then other people's entry points; imported on use."""

from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from types import ModuleType
from typing import Literal

from penstock.core.errors import ConfigError

Kind = Literal["engines", "dialects", "streams", "stores", "pictures", "transports"]


def names(kind: Kind) -> dict[str, str]:
    """Every known name of a kind and the module that serves it. Imports none of them."""
    package = f"penstock.{kind}"
    ours = {
        module.name: f"{package}.{module.name}"
        for module in iter_modules(import_module(package).__path__)
        if not module.name.startswith("_")
    }
    theirs = {point.name: point.value for point in entry_points(group=package)}
    return theirs | ours


def load(kind: Kind, name: str) -> ModuleType:
    """The module registered under a name. Says which extra is missing when that is the trouble."""
    known = names(kind)
    if name not in known:
        raise ConfigError(f"no {kind[:-1]} named {name!r}; known: {', '.join(sorted(known))}")
    try:
        return import_module(known[name])
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("penstock"):
            raise
        raise ConfigError(
            f"the {kind[:-1]} {name!r} needs {error.name!r}: pip install 'penstock[all]'"
        ) from error
