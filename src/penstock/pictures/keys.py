"""The key that addresses of pictures are signed with."""

import os
from pathlib import Path
from secrets import token_hex
from typing import Final

from penstock.core.errors import ConfigError
from penstock.core.secrets import Secret

_BYTES: Final = 32


def signing_key(file: Path) -> Secret:
    """64 hex digits of a file, which is made with mode 0600 where there is none.

    It outlives the process, so that addresses do. Raises `ConfigError` when it can't be had.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(file)
        text = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file.name} can't be read or made: {error}") from error
    if len(text) != 2 * _BYTES:
        raise ConfigError(f"{file.name} is no key: delete it, and a new one is made")
    return Secret(text)


def _make(file: Path) -> None:
    """Whole or not at all: another process may be making it too."""
    if file.exists():
        return
    fresh = file.with_name(f".{file.name}.{token_hex(4)}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, token_hex(_BYTES).encode())
    finally:
        os.close(fd)
    try:
        os.link(fresh, file)  # fails where one came first, which then is the key
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
