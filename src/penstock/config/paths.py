"""Where configuration, data and state lie. XDG's folders; `XDG_*_HOME` is honoured.

Nothing is created here: whoever writes makes its folder.
"""

from pathlib import Path
from typing import Final

import platformdirs

from penstock.config.schema import Config
from penstock.core.errors import ConfigError

_NAME: Final = "penstock"


def place(text: str) -> Path:
    """What a person means by a path: `~` is a home. Raises `ConfigError`."""
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{text!r} is no path: there is no home of that name") from error
    if "\0" in text:
        raise ConfigError(f"{text!r} is no path: no file's name holds a NUL")
    return path


def config_folder() -> Path:
    """`~/.config/penstock`."""
    return platformdirs.user_config_path(_NAME, appauthor=False)


def data_folder() -> Path:
    """`~/.local/share/penstock`."""
    return platformdirs.user_data_path(_NAME, appauthor=False)


def state_folder() -> Path:
    """`~/.local/state/penstock`."""
    return platformdirs.user_state_path(_NAME, appauthor=False)


def streams_folder(config: Config) -> Path:
    """Where the journal lies: `[streams] folder`, else `streams` in the state folder."""
    chosen = config.streams.folder
    return place(chosen) if chosen else state_folder() / "streams"


def picture_key_file() -> Path:
    """What addresses of pictures are signed with."""
    return data_folder() / "pictures.key"


def stores_file() -> Path:
    """SQLite's file of sessions and keys, unless `[stores] url` names another database."""
    return data_folder() / "stores.sqlite"


def personalities_folder(config: Config) -> Path | None:
    """`[paths] personalities_folder`, if there is one."""
    chosen = config.paths.personalities_folder
    return place(chosen) if chosen else None


def functions_folder(config: Config) -> Path | None:
    """`[paths] functions_folder`."""
    chosen = config.paths.functions_folder
    return place(chosen) if chosen else None


def models_folder(config: Config) -> Path:
    """The model store: `[paths] models_folder`, else `models` in the data folder."""
    chosen = config.paths.models_folder
    return place(chosen) if chosen else data_folder() / "models"


def history_file() -> Path:
    """What was typed in `penstock chat`, for its arrow keys."""
    return state_folder() / "chat_history"


def find_config(folder: Path) -> Path | None:
    """The configuration that counts without `--config`: `folder`'s own, the user's, or none."""
    for candidate in (folder / "config.toml", config_folder() / "config.toml"):
        if candidate.is_file():
            return candidate
    return None
