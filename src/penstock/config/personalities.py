"""Personalities: those that ship, a folder in lollms' format, and `[personalities.NAME]`.

The format is lollms_server's `config.yaml`: `name`, `version`, `author`,
`personality_description` and `personality_conditioning` are required, keys that are not known are
ignored. Nothing of a folder is executed here: a scripted personality is listed with its `trouble`,
unless `[personalities] scripts` names it.
"""

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Final

import msgspec
import yaml
from msgspec import Meta

from penstock.config import paths
from penstock.config._reading import Reader, complain
from penstock.config.schema import Config, PersonalityTable
from penstock.core.cards import Personality
from penstock.core.errors import ConfigError

_FILE: Final = "config.yaml"
_PARAMETERS: Final = {
    "model_temperature": "temperature",
    "model_n_predicts": "max_tokens",
    "model_top_k": "top_k",
    "model_top_p": "top_p",
    "model_repeat_penalty": "repeat_penalty",
    "model_repeat_last_n": "repeat_last_n",
}
_SCRIPTED: Final = (
    "it has a script (`script_path`), and no script runs that isn't named: add {name!r} to "
    "[personalities] scripts if you trust it, or remove the key to use its prompt alone"
)


class _Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of `config.yaml` that mean something here, with lollms' limits."""

    name: Annotated[str, Meta(min_length=1)]
    version: str
    author: str
    personality_description: str
    personality_conditioning: str
    category: str = "generic"
    language: str = "english"
    tags: tuple[str, ...] = ()
    icon: str = "default.png"
    welcome_message: str = ""
    disclaimer: str = ""
    script_path: str | None = None
    model_temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    model_n_predicts: Annotated[int, Meta(gt=0)] | None = None
    model_top_k: Annotated[int, Meta(gt=0)] | None = None
    model_top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    model_repeat_penalty: Annotated[float, Meta(gt=0)] | None = None
    model_repeat_last_n: Annotated[int, Meta(ge=0)] | None = None


def load(config: Config) -> dict[str, Personality]:
    """All of them by name; a table of the configuration wins over a folder, a folder over ours.

    Raises `ConfigError` naming file and key.
    """
    found = {one.name: one for one in shipped()}
    folder = paths.personalities_folder(config)
    if folder is not None:
        found |= {one.name: one for one in read_folder(folder)}
    tables = config.personalities.tables.items()
    found |= {name: _from_table(name, table) for name, table in tables}
    for name in config.personalities.scripts:
        if name not in found or not found[name].scripted:
            complain("personalities.scripts", f"no personality named {name!r} has a script")
        found[name] = msgspec.structs.replace(found[name], trouble=None)
    return found


def scripts(config: Config) -> dict[str, Path]:
    """The files of the scripts that may run, by the names of their personalities.

    Raises `ConfigError` when one is not there, or lies outside its personality's folder.
    """
    folder = paths.personalities_folder(config)
    allowed = config.personalities.scripts
    if folder is None or not allowed:
        return {}
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        sheet = _read(entry / _FILE, entry.name) if (entry / _FILE).is_file() else None
        if sheet is not None and sheet.name in allowed and sheet.script_path:
            found[sheet.name] = _script(entry, sheet.script_path)
    return found


def _script(folder: Path, name: str) -> Path:
    where = f"{folder.name}/{_FILE}: script_path"
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise ConfigError(f"{where}: {name!r} lies outside its folder", param="script_path")
    if not file.is_file():
        raise ConfigError(f"{where}: there is no file {name!r}", param="script_path")
    return file


def shipped() -> tuple[Personality, ...]:
    """The two that come with Penstock: `lollms` and `my_coolbot`."""
    return tuple(_read_all(resources.files("penstock") / "personalities"))


def read_folder(folder: Path) -> tuple[Personality, ...]:
    """Every sub-folder with a `config.yaml`, by the name of the sub-folder.

    Raises `ConfigError` when the folder can't be read, or naming file and key of a bad sheet.
    """
    if not folder.is_dir():
        complain("paths.personalities_folder", f"there is no folder {folder}")
    return tuple(_read_all(folder))


def _read_all(folder: Traversable) -> Iterator[Personality]:
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        complain("paths.personalities_folder", f"{folder} can't be read: {error.strerror}")
    for entry in entries:
        sheet = entry / _FILE
        if entry.is_dir() and sheet.is_file():
            yield _card(_read(sheet, entry.name), entry.name)


def _read(file: Traversable, folder: str) -> _Sheet:
    where = f"{folder}/{_FILE}"
    try:
        value = yaml.safe_load(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: not UTF-8 text") from error
    except OSError as error:
        raise ConfigError(f"{where}: can't be read: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{where}:{line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected keys and values, such as `name: …`")
    return _sheet(value, where)


def _sheet(value: dict[object, object], where: str) -> _Sheet:
    names = _Sheet.__struct_fields__
    # An empty value in YAML is null; lollms takes it as the default.
    known = {key: value[key] for key in names if value.get(key) is not None}
    if isinstance(known.get("version"), float | int):
        known["version"] = str(known["version"])
    try:
        return Reader({}).struct(known, _Sheet, "")
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", param=error.param) from error


def _card(sheet: _Sheet, folder: str) -> Personality:
    return Personality(
        name=sheet.name,
        conditioning=sheet.personality_conditioning,
        author=sheet.author,
        version=sheet.version,
        description=sheet.personality_description,
        category=sheet.category,
        language=sheet.language,
        tags=sheet.tags,
        icon=sheet.icon,
        path=folder,
        welcome_message=sheet.welcome_message,
        disclaimer=sheet.disclaimer,
        parameters=_parameters(sheet),
        scripted=bool(sheet.script_path),
        trouble=_SCRIPTED.format(name=sheet.name) if sheet.script_path else None,
    )


def _from_table(name: str, table: PersonalityTable) -> Personality:
    return Personality(
        name=name,
        conditioning=table.personality_conditioning,
        author=table.author,
        version=table.version,
        description=table.personality_description,
        category=table.category,
        language=table.language,
        tags=table.tags,
        parameters=_parameters(table),
    )


def _parameters(sheet: _Sheet | PersonalityTable) -> dict[str, float]:
    values = {ours: getattr(sheet, theirs) for theirs, ours in _PARAMETERS.items()}
    return {name: value for name, value in values.items() if value is not None}
