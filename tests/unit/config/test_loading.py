"""file < environment < flags, and what is said about each mistake."""

from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from penstock.config import loading
from penstock.config.schema import Config
from penstock.core.errors import ConfigError
from penstock.core.secrets import Secret


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    url: str = "http://127.0.0.1"
    key: Secret | None = None
    headers: dict[str, Secret] = {}
    slots: Annotated[int, Meta(ge=1)] = 1


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def load(folder: Path, text: str, **environment: str) -> Config:
    return loading.load(write(folder, text), environment, {})


def test_without_a_file_everything_is_as_the_schema_says():
    assert loading.load(None, {}, {}) == Config()


def test_environment_wins_over_the_file_and_flags_over_both(tmp_path: Path):
    path = write(tmp_path, '[server]\nport = 1\nhost = "::1"\nmax_runs = 7\n')
    environment = {"PENSTOCK_SERVER__PORT": "2", "PENSTOCK_SERVER__HOST": "localhost"}
    config = loading.load(path, environment, {"server.port": "3"})
    assert (config.server.port, config.server.host, config.server.max_runs) == (3, "localhost", 7)


def test_the_environment_reaches_any_depth_whatever_the_spelling(tmp_path: Path):
    config = load(
        tmp_path,
        '[bindings.Open-AI]\nurl = "http://a"\n',
        PENSTOCK_BINDINGS__OPEN_AI__URL="https://b/v1",
        PENSTOCK_BINDINGS__NEW__KEY='{ env = "SOME_KEY" }',
        PENSTOCK_MODELS__FAST__BINDING="new",
    )
    assert config.bindings["Open-AI"]["url"] == "https://b/v1"
    assert config.bindings["new"] == {"key": {"env": "SOME_KEY"}}
    assert config.models["fast"].binding == "new"


@pytest.mark.parametrize(
    ("text", "value"),
    [("9600", "9600"), ("true", "true"), ('"quoted"', "quoted"), ("a\nb", "a\nb")],
)
def test_what_is_text_stays_text(text: str, value: str):
    config = loading.load(None, {"PENSTOCK_CLIENT__DEFAULTS__MODEL": text}, {})
    assert config.client.defaults.model == value


def test_a_value_brings_no_further_keys():
    environment = {"PENSTOCK_SERVER__PORT": "1\nhost = '0.0.0.0'"}
    with pytest.raises(ConfigError, match=r"^server.port: expected a whole number"):
        loading.load(None, environment, {})


def test_other_variables_of_ours_are_no_settings():
    assert loading.load(None, {"PENSTOCK_KEY": "x", "PENSTOCK_URL": "y"}, {}) == Config()


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("[server]\nprot = 1", "server.prot", "unknown key; did you mean 'port'?"),
        ("[serve]\nport = 1", "serve", "unknown key; did you mean 'server'?"),
        ("qqqq = 1", "qqqq", "unknown key; known here: bindings, client,"),
        ("[models.fast]\nbinding = 'a'\ntemprature = 1", "models.fast.temprature", "'temperature'"),
        ("[client.api]\nendpint = 'a'", "client.api.endpint", "'endpoint'"),
        ("[personalities.x]\npersonality_conditioning = ''\nautor = ''", "personalities.x.autor",
         "'author'"),
        ("[timeouts]\nconect = 1", "timeouts.conect", "'connect'"),
        ("[models.fast]\n", "models.fast.binding", "missing"),
        ("[server]\nport = 'x'", "server.port", "expected a whole number, got text in quotes"),
        ("[server]\nport = 70000", "server.port", "expected a whole number <= 65535"),
        ("[server]\ninsecure = 1", "server.insecure", "expected true or false"),
        ("[timeouts]\nconnect = inf", "timeouts.connect", "finite"),
        ("server = 1", "server", "expected a table, got a number"),
        ("[models]\nfast = 1", "models.fast", "expected a table"),
        ("[streams]\nlog = 'disk'", "streams.log", "expected one of 'journal', 'memory'"),
        ("[streams]\non_disconnect = ''", "streams.on_disconnect", "'cancel', 'finish', 'linger'"),
        ("[models.a]\nbinding = 'b'\ntemperature = 9", "models.a.temperature", "<= 5"),
        ("[security]\nallowed_api_keys = ['a', 3]", "security.allowed_api_keys[1]", "expected"),
        ("[security]\nallowed_api_keys = ['']", "security.allowed_api_keys[0]", "an empty key"),
        ("[security]\nallowed_api_keys = 'a'", "security.allowed_api_keys", "expected a list"),
        ("[security]\nadmin_keys = [{ env = 'NOPE' }]", "security.admin_keys[0]",
         "the environment variable NOPE is not set"),
        ("[client.api]\ntoken = { evn = 'X' }", "client.api.token", "expected text in quotes or"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_path(tmp_path: Path, text: str, path: str, said: str):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.param == path
    assert caught.value.message.startswith(f"{path}: ")
    assert said in caught.value.message


def test_a_mistake_in_the_environment_is_named_too():
    with pytest.raises(ConfigError, match=r"^server\.poort: unknown key; did you mean 'port'\?$"):
        loading.load(None, {"PENSTOCK_SERVER__POORT": "1"}, {})
    with pytest.raises(ConfigError, match=r"^server\.port: is not a table"):
        loading.load(None, {"PENSTOCK_SERVER__PORT": "1", "PENSTOCK_SERVER__PORT__X": "1"}, {})


@pytest.mark.parametrize(
    ("text", "line"), [("a = = 1", 1), ("[server]\nport = 1\n\n[x", 4), ("[server\nport = 1", 1)]
)
def test_a_syntax_error_names_file_and_line(tmp_path: Path, text: str, line: int):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        loading.load(path, {}, {})
    assert caught.value.message.startswith(f"{path}:{line}: not valid TOML: ")


def test_what_can_not_be_read_is_said(tmp_path: Path):
    with pytest.raises(ConfigError, match="there is no such file"):
        loading.load(tmp_path / "none.toml", {}, {})
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        loading.load(tmp_path / "bad.toml", {}, {})
    with pytest.raises(ConfigError, match="can't be read"):
        loading.load(tmp_path, {}, {})


def test_a_secret_is_text_or_a_variable_and_never_shown(tmp_path: Path):
    text = "[security]\nallowed_api_keys = ['plain', { env = 'MY_KEY' }]\n"
    config = load(tmp_path, text, MY_KEY="hidden")
    assert [key.reveal() for key in config.security.allowed_api_keys] == ["plain", "hidden"]
    assert "plain" not in repr(config)
    assert "hidden" not in repr(config)


def test_a_binding_becomes_its_engines_own_configuration():
    table: dict[str, object] = {"engine": "openai", "url": "http://b", "key": {"env": "K"}}
    found = loading.convert_binding("groq", table, Engine, {"K": "secret"})
    assert (found.url, found.key) == ("http://b", Secret("secret"))


@pytest.mark.parametrize(
    ("table", "path", "said"),
    [
        ({"ulr": "x"}, "bindings.groq.ulr", "did you mean 'url'?"),
        ({"slots": 0}, "bindings.groq.slots", ">= 1"),
        ({"url": 3}, "bindings.groq.url", "expected text in quotes, got a whole number"),
        ({"key": {"env": "NOPE"}}, "bindings.groq.key", "NOPE is not set"),
        ({"headers": {"a": 1}}, "bindings.groq.headers[]", "expected text in quotes or"),
    ],
)
def test_a_mistake_in_a_binding_is_named_by_its_path(
    table: dict[str, object], path: str, said: str
):
    with pytest.raises(ConfigError) as caught:
        loading.convert_binding("groq", table, Engine, {})
    assert caught.value.param == path
    assert said in caught.value.message


def test_a_binding_names_its_engine():
    assert loading.engine_of("a", {"engine": "openai"}) == "openai"
    with pytest.raises(ConfigError, match=r"^bindings\.a\.engine: missing"):
        loading.engine_of("a", {"url": "x"})


def test_a_clients_file_is_told_from_a_servers():
    assert loading.is_of_a_server({"server": {}, "defaults": {}})
    assert not loading.is_of_a_server({"api": {}, "defaults": {}})
    client = loading.read_client({"api": {"endpoint": "http://a", "token": "t"}}, {})
    assert client.api.token == Secret("t")
    assert client.defaults.max_tokens == 300
