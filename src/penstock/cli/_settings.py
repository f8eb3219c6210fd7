"""What a command is configured with: `-c FILE`, `./config.json`, or the server's `config.toml`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from penstock.config import loading, paths
from penstock.config.schema import Client, Config
from penstock.core.errors import ConfigError
from penstock.core.secrets import Secret
from penstock.wire import json

KEY_VARIABLE: Final = "PENSTOCK_KEY"

EXAMPLE: Final = """\
{
  "api": {
    "endpoint": "https://api.ai.cloud-temple.com/v1",
    "token": "YOUR_API_TOKEN"
  },
  "defaults": {
    "model": "granite3.3:2b",
    "max_tokens": 300,
    "temperature": 0.8,
    "timeout": 30.0
  }
}
"""
"""A `config.json` with the keys of Cloud Temple's streaming demonstration."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`where`: the file that counted, if any. `foreign`: `client` names its own endpoint."""

    config: Config
    client: Client
    where: Path | None
    local_key: Secret | None

    @property
    def foreign(self) -> bool:
        """Whether an endpoint is named, so that nothing is looked for."""
        return self.client.api.endpoint is not None

    def key(self, name: str) -> str:
        """A key of `client`, as the file that counted spells it."""
        return f"client.{name}" if self.client is self.config.client else name

    def wanted_model(self) -> ConfigError:
        """What to say where a model has to be named and is not."""
        key = self.key("defaults.model")
        place = self.where or "the configuration"
        what = f"{key}: missing in {place}; name a model there or with -m MODEL"
        return ConfigError(what, param=key)


def settings(chosen: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Raises `ConfigError` naming file and key."""
    if chosen is None and Path("config.json").is_file():
        chosen = Path("config.json")
    if chosen is None:
        return _of_server(paths.find_config(Path.cwd()), environment)
    if chosen.suffix == ".json":
        return _of_client(chosen, _read_json(chosen), environment)
    tables = loading.read_toml(chosen)
    if loading.is_of_a_server(tables):
        return _of_server(chosen, environment)
    return _of_client(chosen, tables, environment)


def _of_server(path: Path | None, environment: Mapping[str, str]) -> Settings:
    config = load_config(path, environment)
    return Settings(
        config=config, client=config.client, where=path, local_key=_local_key(config, environment)
    )


def server_config(chosen: Path | None) -> Config:
    """What `penstock serve` would take, for commands that work on what is a server's. A
    `./config.json`, which may be anybody's, is none of it. Raises `ConfigError`.
    """
    return load_config(chosen or paths.find_config(Path.cwd()), os.environ)


def load_config(
    path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, str] | None = None
) -> Config:
    """As `loading.load`, naming the file too."""
    try:
        return loading.load(path, environment, overrides or {})
    except ConfigError as error:
        if error.param is None or path is None:
            raise
        raise ConfigError(f"{error.message} (in {path})", param=error.param) from error


def _of_client(path: Path, tables: dict[str, object], environment: Mapping[str, str]) -> Settings:
    try:
        client = loading.read_client(tables, environment)
    except ConfigError as error:
        raise ConfigError(f"{error.message} (in {path})", param=error.param) from error
    if client.api.endpoint is None:
        raise ConfigError(
            f"api.endpoint: missing in {path}; it is the base URL of the API, such as "
            "http://127.0.0.1:9601/v1",
            param="api.endpoint",
        )
    return Settings(config=Config(), client=client, where=path, local_key=None)


def _local_key(config: Config, environment: Mapping[str, str]) -> Secret | None:
    """The key for a server of this configuration: only ever sent to this machine's own."""
    named = environment.get(KEY_VARIABLE)
    if named:
        return Secret(named)
    security = config.security
    keys = (config.client.api.token, *security.admin_keys, *security.allowed_api_keys)
    return next((key for key in keys if key is not None), None)


def _read_json(path: Path) -> dict[str, object]:
    text = loading.read_text(path)
    try:
        value = json.decode(text, object, ConfigError)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a JSON object with the keys `api` and `defaults`")
    return value
