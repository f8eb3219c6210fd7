"""Command-line flags made from the schema, and their place in the help."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal, get_args, get_origin

import click
import msgspec
from msgspec.structs import FieldInfo
from typing_extensions import override

from penstock.cli._arguments import TEXT
from penstock.config.schema import Server, Streams

_SECTIONS: Final[tuple[tuple[str, type[msgspec.Struct], str], ...]] = (
    ("server", Server, ""),
    ("streams", Streams, "streams-"),
)
_TYPES: Final[dict[object, click.ParamType[object]]] = {
    int: click.INT,
    float: click.FLOAT,
    str: TEXT,
}
_SWITCHES: Final = ("  [True]", "  [False]")


class SettingOption(click.Option):
    """A flag of one setting; `path` is its place in `config.toml`."""

    def __init__(self, flag: str, path: str, about: str, kind: object) -> None:
        self.path = path
        name = path.replace(".", "__")
        if kind is bool:
            super().__init__([f"--{flag}/--no-{flag}", name], default=None, help=about)
        else:
            choices = get_args(kind) if get_origin(kind) is Literal else ()
            chosen = click.Choice(choices) if choices else _TYPES[kind]
            super().__init__([f"--{flag}", name], type=chosen, help=about)


class SettingsCommand(click.Command):
    """A command whose help groups the flags by the table that they set."""

    @override
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                path = parameter.path if isinstance(parameter, SettingOption) else ""
                groups.setdefault(path.partition(".")[0], []).append(record)
        for section, records in sorted(groups.items()):
            with formatter.section(f"Settings of [{section}]" if section else "Options"):
                formatter.write_dl(records)


def options() -> list[click.Option]:
    """A flag for every scalar of `[server]` and `[streams]`."""
    return list(_options())


def overrides(values: Mapping[str, object]) -> dict[str, str]:
    """The flags that were given, as `loading.load` takes them."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            found[name.replace("__", ".")] = text
    return found


def _options() -> Iterator[click.Option]:
    for section, kind, prefix in _SECTIONS:
        for field in msgspec.structs.fields(kind):
            plain = _scalar(field.type)
            if plain is not None:
                flag = prefix + field.encode_name.replace("_", "-")
                path = f"{section}.{field.encode_name}"
                yield SettingOption(flag, path, _about(field), plain)


def _scalar(kind: object) -> object | None:
    """The plain type of a setting that a flag can hold; `None` for lists and tables."""
    if get_origin(kind) is Annotated:
        return _scalar(get_args(kind)[0])
    if kind in (*_TYPES, bool) or get_origin(kind) is Literal:
        return kind
    kinds = [one for one in get_args(kind) if one is not type(None)]
    return _scalar(kinds[0]) if len(kinds) == 1 and get_origin(kind) is not tuple else None


def _about(field: FieldInfo) -> str:
    metas = getattr(field.type, "__metadata__", ())
    described = [meta.description for meta in metas if isinstance(meta, msgspec.Meta)]
    about = next((text for text in described if text), "")
    default = f"  [{field.default}]" if isinstance(field.default, int | float | str) else ""
    return about.replace("`", "") + (default.lower() if default in _SWITCHES else default)
