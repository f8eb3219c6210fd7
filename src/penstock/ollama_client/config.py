"""The settings of the guide's programs: `Config.from_defaults()`, to be changed freely.

`PENSTOCK_URL`, else `OLLAMA_HOST`, names the server; `PENSTOCK_MODEL` the model; `PENSTOCK_KEY` the
key. The other defaults are those that the guide was written with.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Final, Self
from urllib.parse import urlsplit

from typing_extensions import override

from penstock.core.errors import ConfigError
from penstock.core.secrets import Secret
from penstock.ollama_client.troubles import shown

MODEL_NAME: Final = "tinyllama"
WEB_SEARCH_COMPACT_MODEL: Final = "tinyllama"
OLLAMA_URL: Final = "http://localhost:11434/api/generate"

_GENERATE: Final = "/api/generate"
_OLLAMA_PORT: Final = 11434
_PENSTOCK_PORT: Final = 9601


class SearchProcessingMethod(Enum):
    """How a program shortens what a search found."""

    EXTRACTION = "extraction"
    SMALL_MODEL = "small_model"
    SIMPLE = "simple"


class ResponseStyle(Enum):
    """How long a program wants its answers."""

    CONCISE = "concise"
    NORMAL = "normal"
    DETAILED = "detailed"


@dataclass
class OllamaConfig:
    """One server and how it is asked. Timeouts in seconds, read anew for every request.

    `timeout_first_request`: the longest wait for the first chunk. `timeout_chunk`: for each later
    one, the same when `None`. `timeout_total`: for the whole answer; `None` sets no such limit.
    `num_predict`: most tokens of an answer, left to the server when not above 0. `key` is sent as a
    bearer token.
    """

    url: str = OLLAMA_URL
    model_name: str = MODEL_NAME
    timeout_first_request: float = 120
    timeout_tool_request: float = 150
    response_style: ResponseStyle = ResponseStyle.CONCISE
    temperature: float = 1
    num_predict: int = 100
    top_p: float = 0.5
    timeout_chunk: float | None = None
    timeout_total: float | None = None
    key: Secret | str | None = field(default=None, repr=False)

    @override
    def __repr__(self) -> str:
        """All but the key, and but the name and password that the address may have."""
        known = {one.name: getattr(self, one.name) for one in fields(self) if one.repr}
        known["url"] = shown(self.url)
        return f"OllamaConfig({', '.join(f'{name}={value!r}' for name, value in known.items())})"


@dataclass
class SearchConfig:
    """What the guide's chat program reads for its searches; the client itself has no use for it."""

    processing_method: SearchProcessingMethod = SearchProcessingMethod.EXTRACTION
    max_results: int = 3
    max_description_length: int = 150
    search_result_compact_model_name: str = WEB_SEARCH_COMPACT_MODEL
    small_model_timeout: float = 30


@dataclass
class UIConfig:
    """What the guide's chat program reads for its screen; the client itself has no use for it."""

    show_timing: bool = True
    show_loading: bool = True
    use_streaming: bool = True
    spinner_chars: tuple[str, ...] = ("|", "/", "-", "\\")


class Config:
    """All settings of a program, in three groups."""

    def __init__(
        self,
        ollama_config: OllamaConfig | None = None,
        search_config: SearchConfig | None = None,
        ui_config: UIConfig | None = None,
    ) -> None:
        self.ollama = ollama_config or OllamaConfig()
        self.search = search_config or SearchConfig()
        self.ui = ui_config or UIConfig()

    @classmethod
    def from_defaults(cls) -> Self:
        """The defaults, with the server, model and key that the environment names.

        Raises `ConfigError` for an address that is none.
        """
        found = OllamaConfig(url=_url(os.environ), key=_key(os.environ))
        found.model_name = os.environ.get("PENSTOCK_MODEL") or MODEL_NAME
        return cls(found)

    def update_ollama_url(self, url: str) -> None:
        """For clients made from now on: a client keeps the address that it was made with."""
        self.ollama.url = url

    def update_model_name(self, model_name: str) -> None:
        """The model of all requests that name none."""
        self.ollama.model_name = model_name

    def set_search_processing(self, method: SearchProcessingMethod) -> None:
        """How search results are shortened."""
        self.search.processing_method = method

    def set_response_style(self, style: ResponseStyle) -> None:
        """How long answers should be."""
        self.ollama.response_style = style

    def set_temperature(self, temperature: float) -> None:
        """Of all requests that bring no options."""
        self.ollama.temperature = temperature

    def set_max_tokens(self, max_tokens: int) -> None:
        """Of all requests that bring no options."""
        self.ollama.num_predict = max_tokens


def _key(environment: Mapping[str, str]) -> Secret | None:
    found = environment.get("PENSTOCK_KEY")
    return Secret(found) if found else None


def _url(environment: Mapping[str, str]) -> str:
    for name, port in (("PENSTOCK_URL", _PENSTOCK_PORT), ("OLLAMA_HOST", _OLLAMA_PORT)):
        said = environment.get(name, "").strip()
        if said:
            return _generate(name, said, port)
    return OLLAMA_URL


def _generate(name: str, said: str, port: int) -> str:
    """The address of `/api/generate` at `HOST`, `HOST:PORT`, `:PORT` or a whole URL.

    As Ollama's own clients read it: `port` holds only where no scheme is given.
    """
    bare = "://" not in said
    try:
        parts = urlsplit(f"http://{said}" if bare else said)
        found = parts.port or (port if bare else None)
    except ValueError as error:
        reason = "no address" if "@" in said else error  # which may show a part of a password
        raise ConfigError(f"{name}: {reason}", param=name) from None
    host = parts.hostname or ("127.0.0.1" if bare else "")
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigError(f"{name}: no address; it looks like http://HOST:PORT", param=name)
    if host == "0.0.0.0":  # noqa: S104 - what a server listens on, which nobody can ask
        host = "127.0.0.1"
    place = f"[{host}]" if ":" in host else host
    who, at, _ = parts.netloc.rpartition("@")
    path = parts.path.rstrip("/").removesuffix(_GENERATE).removesuffix("/v1")
    return f"{parts.scheme}://{who}{at}{place}{f':{found}' if found else ''}{path}{_GENERATE}"
