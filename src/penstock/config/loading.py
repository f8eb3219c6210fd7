"""file < environment < flags. Every error is a `ConfigError` that names the path of the key."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Final, TypeVar, Union, get_args, get_origin

import msgspec

from penstock.config._reading import Reader, complain, named_tables
from penstock.config.schema import Client, Config
from penstock.core.errors import ConfigError
from penstock.core.secrets import Secret

S = TypeVar("S", bound=msgspec.Struct)
Table = dict[str, object]

PREFIX: Final = "PENSTOCK_"
_SERVER_ONLY: Final = frozenset(Config.__struct_fields__) - {"defaults"}


def load(path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, str]) -> Config:
    """The configuration of `path` (defaults when `None`), environment and flags.

    `environment`: `PENSTOCK_SERVER__PORT=9700` sets `server.port`, at any depth. `overrides`: the
    same by dotted path. Values are TOML where they parse and where the key isn't text, else text.
    """
    tables = read_toml(path) if path is not None else {}
    for name, text in environment.items():
        if name.startswith(PREFIX) and "__" in name:
            _set(tables, name.removeprefix(PREFIX).lower().split("__"), text)
    for dotted, text in overrides.items():
        _set(tables, dotted.split("."), text)
    return Reader(environment).struct(tables, Config, "")


def convert_binding(name: str, table: Table, kind: type[S], environment: Mapping[str, str]) -> S:
    """`[bindings.NAME]` as its engine's own `Config`; `engine` itself is not part of it."""
    rest = {key: value for key, value in table.items() if key != "engine"}
    return Reader(environment).struct(rest, kind, f"bindings.{name}")


def engine_of(name: str, table: Table) -> str:
    """Which engine `[bindings.NAME]` names."""
    engine = table.get("engine")
    if not isinstance(engine, str) or not engine:
        complain(f"bindings.{name}.engine", "missing; it names the engine, such as 'openai'")
    return engine


def read_client(tables: Table, environment: Mapping[str, str]) -> Client:
    """The `api` and `defaults` of `penstock stream -c FILE`."""
    return Reader(environment).struct(tables, Client, "")


def is_of_a_server(tables: Table) -> bool:
    """Whether these are a server's tables rather than a client's `api` and `defaults`."""
    return bool(_SERVER_ONLY & set(tables))


def read_toml(path: Path) -> Table:
    """The tables of a TOML file. A syntax error names file and line."""
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", str(error))
        if found is None:
            raise ConfigError(f"{path}: {error}") from error
        line = found[2] or str(read_text(path).count("\n") + 1)
        column = f", column {found[3]}" if found[3] else ""
        raise ConfigError(f"{path}:{line}: not valid TOML: {found[1]}{column}") from error


def read_text(path: Path) -> str:
    """A file's text. Raises `ConfigError` naming the file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error


def _set(tables: Table, keys: list[str], text: str) -> None:
    """Sets one value, making the tables on its way. Keys of the file win over their spelling."""
    kind: object = Config
    path: list[str] = []
    for key in keys[:-1]:
        name = _spelled(tables, key)
        path.append(name)
        kind = _inside(kind, name)
        below = tables.setdefault(name, {})
        if not isinstance(below, dict):
            complain(".".join(path), "is not a table, so nothing below it can be set")
        tables = below
    name = _spelled(tables, keys[-1])
    tables[name] = _value(text, _inside(kind, name))


def _spelled(tables: Table, key: str) -> str:
    """The key as the file spells it: the environment has neither case nor hyphens."""
    if key in tables:
        return key
    plain = key.lower().replace("-", "_")
    return next((name for name in tables if name.lower().replace("-", "_") == plain), key)


def _inside(kind: object, key: str) -> object:
    """The type of a key of `kind`; `None` where the schema says nothing."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        named = fields.get(named_tables(kind))
        return fields[key] if key in fields else named and get_args(named)[1]
    return get_args(kind)[1] if get_origin(kind) is dict else None


def _value(text: str, kind: object) -> object:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    # A line break in `text` could have brought further keys.
    value = parsed["value"] if set(parsed) == {"value"} else text
    if _is_text(kind) and not isinstance(value, str | dict):
        return text
    return value


def _is_text(kind: object) -> bool:
    """Whether a setting is text or a secret, which `9600` or `true` may well be."""
    if kind in (str, Secret):
        return True
    if get_origin(kind) is Annotated:
        return _is_text(get_args(kind)[0])
    if get_origin(kind) not in (Union, UnionType):
        return False
    return all(_is_text(one) for one in get_args(kind) if one is not type(None))
