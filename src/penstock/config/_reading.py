"""TOML tables to structs, with errors that name the path of the key and say what to write.

msgspec's own errors don't name the keys of a table of tables, so structs are read field by field.
"""

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final, Literal, NoReturn, TypeVar, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

from penstock.core.errors import ConfigError
from penstock.core.secrets import Secret

S = TypeVar("S", bound=msgspec.Struct)

_WORDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
    "Secret": 'text in quotes or { env = "NAME" }',
}
_AT: Final = re.compile(r" - at `(?:key in )?\$?(.*)`$", re.DOTALL)


class Reader:
    """Reads one file's tables. `environment` is where `{ env = "NAME" }` looks."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def struct(self, value: object, kind: type[S], path: str) -> S:
        """`value` as a `kind`. Raises `ConfigError` whose `param` is the path of the bad key."""
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        named = named_tables(kind)
        table = _gathered(self._table(value, path), named, fields)
        for key in table:
            if key not in fields:
                unknown(_join(path, key), key, fields)
        values: dict[str, object] = {}
        for name, field in fields.items():
            if name in table:
                below = path if name == named else _join(path, name)
                values[field.name] = self._field(table[name], field, below)
            elif field.required:
                complain(_join(path, name), "missing; it has no default")
        return kind(**values)

    def _field(self, value: object, field: FieldInfo, path: str) -> object:
        kind: object = field.type
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.struct(value, kind, path)
        if get_origin(kind) is dict:
            item = get_args(kind)[1]
            if isinstance(item, type) and issubclass(item, msgspec.Struct):
                items = self._table(value, path).items()
                return {name: self.struct(one, item, _join(path, name)) for name, one in items}
        return self.leaf(value, kind, path)

    def leaf(self, value: object, kind: object, path: str) -> object:
        """`value` as any type that msgspec knows."""
        _refuse_infinite(value, path)
        try:
            return msgspec.convert(value, kind, dec_hook=self._secret)
        except msgspec.ValidationError as error:
            text = str(error)
            found = _AT.search(text)
            inside = found.group(1).replace("[...]", "[]") if found else ""
            complain(path + inside, _plain(_AT.sub("", text), kind))

    def _table(self, value: object, path: str) -> dict[str, object]:
        if not isinstance(value, dict):
            complain(path, f"expected a table, got {_name_of(value)}")
        return value

    def _secret(self, kind: type, value: object) -> object:
        if kind is object:
            return value
        if kind is not Secret:
            raise NotImplementedError(f"no setting is a {kind}")
        if isinstance(value, str):
            if not value.strip():
                raise ValueError("an empty key; leave the line out if there is none")
            return Secret(value)
        if not isinstance(value, dict) or set(value) != {"env"}:
            raise ValueError(f"expected {_WORDS['Secret']}, got {_name_of(value)}")
        name = value["env"]
        if not isinstance(name, str) or not name:
            raise ValueError("`env` needs the name of an environment variable")
        if not self._environment.get(name, "").strip():
            raise ValueError(f"the environment variable {name} is not set")
        return Secret(self._environment[name])


def named_tables(kind: type[msgspec.Struct]) -> str:
    """The field of a section that holds the tables below it, whose names are the user's own."""
    return getattr(kind, "named", "")


def _gathered(
    table: dict[str, object], named: str, fields: Mapping[str, FieldInfo]
) -> dict[str, object]:
    """A section's table with everything that is no setting of it gathered under `named`."""
    if not named:
        return table
    own = {key: value for key, value in table.items() if key in fields and key != named}
    return own | {named: {key: value for key, value in table.items() if key not in own}}


def complain(path: str, trouble: str) -> NoReturn:
    """Raises the error of the key at `path`."""
    raise ConfigError(f"{path}: {trouble}" if path else trouble, param=path or None)


def unknown(path: str, key: str, known: Mapping[str, object] | list[str]) -> NoReturn:
    """Raises the error of an unknown key, naming the nearest known one."""
    near = get_close_matches(key.lower(), list(known), n=1, cutoff=0.5)
    if near:
        complain(path, f"unknown key; did you mean {near[0]!r}?")
    complain(path, f"unknown key; known here: {', '.join(sorted(known))}")


def _join(path: str, key: str) -> str:
    shown = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'"{key}"'
    return f"{path}.{shown}" if path else shown


def _plain(text: str, kind: object) -> str:
    def in_words(match: re.Match[str]) -> str:
        return " or ".join(_WORDS.get(name, name) for name in match.group(1).split(" | "))

    text = re.sub(r"`([A-Za-z| ]+)`", in_words, text)
    choices = [c for one in (kind, *get_args(kind)) for c in _choices(one)]
    if choices and text.startswith("Invalid enum value"):
        return f"expected one of {', '.join(repr(choice) for choice in choices)}"
    text = re.sub(r"^Object contains unknown field", "unknown key", text)
    text = re.sub(r"^Object missing required field", "missing:", text)
    return text[:1].lower() + text[1:]


def _choices(kind: object) -> tuple[object, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _name_of(value: object) -> str:
    names: dict[type, str] = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), f"a {type(value).__name__}")


def _refuse_infinite(value: object, path: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        complain(path, "expected a finite number")
