"""The reference of every key, and the example, both made from the schema."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

from penstock.config._reading import named_tables
from penstock.config.schema import Config
from penstock.core.secrets import Secret

Engines = Mapping[str, type[msgspec.Struct]]

_PLACEHOLDER: Final = {"models": "ALIAS", "personalities": "NAME"}
_NAMES: Final[dict[object, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Secret: "secret",
}


class Key(msgspec.Struct, frozen=True):
    """One setting. `default` is TOML, or `None` where there is none."""

    section: str
    name: str
    kind: str
    default: str | None
    required: bool
    description: str

    @property
    def path(self) -> str:
        """Such as `server.port`."""
        return f"{self.section}.{self.name}"


class Section(msgspec.Struct, frozen=True):
    """One table of `config.toml`."""

    path: str
    about: str
    keys: tuple[Key, ...]


def sections(engines: Engines) -> list[Section]:
    """Every table; a binding's keys once for each engine, as `bindings.NAME (engine)`."""
    found: list[Section] = []
    for field in msgspec.structs.fields(Config):
        if field.name == "bindings":
            for engine, kind in engines.items():
                found.extend(_sections(kind, f"bindings.NAME ({engine})"))
        elif get_origin(field.type) is dict:
            item = get_args(field.type)[1]
            found.extend(_sections(item, f"{field.name}.{_PLACEHOLDER[field.name]}"))
        else:
            found.extend(_sections(field.type, field.name))
    return found


def markdown(engines: Engines) -> str:
    """`docs/configuration.md`."""
    lines = [_HEAD]
    for section in sections(engines):
        lines += [f"## `[{section.path}]`" if "(" not in section.path else _binding(section)]
        lines += ["", section.about, "", "| Key | Type | Default | |", "|---|---|---|---|"]
        for key in section.keys:
            default = "required" if key.required else f"`{key.default}`" if key.default else ""
            about = key.description.replace("|", "\\|")
            kind = key.kind.replace("|", "\\|")
            lines.append(f"| `{key.name}` | {kind} | {default} | {about} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def example(engines: Engines) -> str:
    """`config.example.toml`: every key with its default, as comments."""
    lines = [_EXAMPLE_HEAD]
    for section in sections(engines):
        title = section.path
        comment = "# "
        if "(" in title or title.endswith((".NAME", ".ALIAS")):
            title = title.partition(" (")[0]
        else:
            comment = ""
        lines += [f"# {line}" for line in _wrapped(section.about)]
        lines.append(f"{comment}[{title}]")
        if "(" in section.path:
            lines.append(f'# engine = "{section.path.partition("(")[2][:-1]}"')
        for key in section.keys:
            lines += [f"#   {line}" for line in _wrapped(key.description)]
            lines.append(f"# {key.name} = {key.default or _sample(key)}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _binding(section: Section) -> str:
    return f'## `[bindings.NAME]` with `engine = "{section.path.partition("(")[2][:-1]}"`'


def _sections(kind: type[msgspec.Struct], path: str) -> Iterator[Section]:
    named = named_tables(kind)
    fields = [field for field in msgspec.structs.fields(kind) if field.name != named]
    keys = [_key(field, path) for field in fields if not _is_struct(field.type)]
    if keys:
        about = " ".join((kind.__doc__ or "").split())
        about = re.sub(r"^`\[[^]]*\]`: (.)", lambda found: found[1].upper(), about)
        yield Section(path, about, tuple(keys))
    for field in fields:
        if _is_struct(field.type):
            yield from _sections(field.type, f"{path}.{field.encode_name}")
    for field in msgspec.structs.fields(kind):
        if field.name == named:
            yield from _sections(get_args(field.type)[1], f"{path}.{_PLACEHOLDER[path]}")
        for item in _tables(field.type):
            yield from _sections(item, f"{path}.{field.encode_name}.NAME")


def _tables(kind: object) -> list[type[msgspec.Struct]]:
    """What each table holds of a setting that is a list of names, or a table for each name."""
    if get_origin(kind) is Annotated:
        return _tables(get_args(kind)[0])
    tables = [get_args(one) for one in get_args(kind) if get_origin(one) is dict]
    return [item for _, item in tables if _is_struct(item)]


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _key(field: FieldInfo, section: str) -> Key:
    return Key(
        section=section,
        name=field.encode_name,
        kind=_kind(field.type),
        default=_default(field),
        required=field.required,
        description=_description(field.type) or _UNTOLD.get(field.encode_name, ""),
    )


def _description(kind: object) -> str:
    """Of the type itself, or of the first member of a union."""
    for one in (kind, *get_args(kind)):
        for meta in getattr(one, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.description:
                return meta.description
    return ""


def _kind(kind: object) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        bounds = ", ".join(_bounds(kind))
        return f"{_kind(arguments[0])} {bounds}".rstrip()
    if origin is Literal:
        return " or ".join(f"`{_toml(one)}`" for one in arguments)
    if origin is tuple or origin is list:
        return f"list of: {_kind(arguments[0])}"
    if origin is dict:
        return f"table of: {_kind(arguments[1])}"
    named = [_kind(one) for one in arguments if one is not type(None)]
    return " or ".join(named) if named else _NAMES.get(kind, "table")


def _bounds(kind: object) -> Iterator[str]:
    for meta in getattr(kind, "__metadata__", ()):
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            bound = getattr(meta, name, None)
            if bound is not None:
                yield f"{sign} {bound}"


def _default(field: FieldInfo) -> str | None:
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    return None if value is None or value is msgspec.NODEFAULT else _toml(value)


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case tuple() | list():
            return "[" + ", ".join(_toml(one) for one in value) + "]"
        case dict():
            return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
        case _:
            raise TypeError(f"no TOML for a {type(value).__name__}")


def _sample(key: Key) -> str:
    """A value for a key without default, so that the line counts once its `# ` is gone."""
    if "secret" in key.kind:
        return '{ env = "NAME_OF_A_VARIABLE" }'
    if "list" in key.kind:
        return "[]"
    if "table" in key.kind:
        return "{}"
    if "true" in key.kind:
        return "false"
    if "number" in key.kind:
        least = re.search(r"≥ (\d+)", key.kind)
        return str(max(1, int(least[1]))) if least else "1"
    return key.kind.partition("`")[2].partition("`")[0] if "`" in key.kind else '"..."'


def _wrapped(text: str, width: int = 92) -> list[str]:
    lines: list[str] = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return [line for line in lines if line]


_UNTOLD: Final = {
    "connect": "Seconds for an upstream to accept the connection and answer with its headers.",
    "first_token": "Seconds until the first piece of an answer.",
    "between_tokens": "Longest silence, in seconds, between two pieces of an answer.",
}
"""`Timeouts` is shared with every engine and lives in `core`, without descriptions of its own."""

_HEAD: Final = """\
# Configuration

<!-- Made by `python tools/reference.py` from the schema; edit `src/penstock/config/schema.py`. -->

`penstock serve --config config.toml`. Without `--config` the first of these counts:
`./config.toml`, then `penstock/config.toml` in the user's configuration folder
(`$XDG_CONFIG_HOME`, usually `~/.config`), then the defaults: the embedded model, an Ollama on its
standard port, and what `OPENAI_API_KEY` and `OPENAI_BASE_URL` name.

Each key can also come from the environment and, for those of `[server]` and `[streams]` that are no
lists, from a flag. A flag wins over the environment, the environment over the file:

```sh
PENSTOCK_SERVER__PORT=9700 PENSTOCK_MODELS__FAST__BINDING=embedded penstock serve
penstock serve --port 9700
```

A secret is text, or `{ env = "NAME" }`, which reads the variable when Penstock starts. An unknown
key is an error that names its path and the nearest known key. `penstock doctor` checks all of it.

A commented file with every key is `config.example.toml` in the project's root.
"""

_EXAMPLE_HEAD: Final = """\
# Every setting of Penstock with its default. Made by `python tools/reference.py` from the schema.
# A line that starts with `# name =` is a setting; remove its `# ` to change it, and that of its
# table's name, should it have one. Where there is no default, a value of the right kind stands.
"""
