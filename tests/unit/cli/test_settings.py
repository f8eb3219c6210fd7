"""Which file a command is configured by."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from penstock.cli.__main__ import main
from penstock.cli._settings import EXAMPLE, settings
from penstock.core.errors import ConfigError
from penstock.core.secrets import Secret


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_any_file_there_are_defaults():
    found = settings(None, {})
    assert (found.foreign, found.where, found.client.defaults.max_tokens) == (False, None, 300)


def test_the_example_is_valid(here: Path):
    (here / "config.json").write_text(EXAMPLE)
    found = settings(None, {})
    assert found.foreign
    assert found.client.defaults.model == "granite3.3:2b"
    assert found.client.api.token == Secret("YOUR_API_TOKEN")


def test_a_chosen_file_wins_over_the_one_that_lies_here(here: Path):
    (here / "config.json").write_text(EXAMPLE)
    chosen = here / "client.toml"
    chosen.write_text('[api]\nendpoint = "http://a/v1"\ntoken = { env = "T" }\n')
    found = settings(chosen, {"T": "secret"})
    assert found.client.api.endpoint == "http://a/v1"
    assert found.client.api.token == Secret("secret")


def test_a_servers_file_brings_its_client_and_its_key(here: Path):
    (here / "config.toml").write_text(
        '[server]\nport = 9\n[security]\nallowed_api_keys = ["sk"]\n'
        '[client.defaults]\nmodel = "m"\n'
    )
    for found in (settings(None, {}), settings(here / "config.toml", {})):
        assert (found.config.server.port, found.client.defaults.model) == (9, "m")
        assert found.local_key == Secret("sk")
        assert not found.foreign
    assert settings(None, {"PENSTOCK_KEY": "mine"}).local_key == Secret("mine")


def test_a_key_of_this_machine_is_never_meant_for_another(here: Path):
    path = here / "c.json"
    path.write_text('{"api": {"endpoint": "https://elsewhere/v1"}}')
    assert settings(path, {"PENSTOCK_KEY": "mine"}).local_key is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "api.endpoint: missing in"),
        ('{"api": {"endpoint": 3}}', "api.endpoint: expected text in quotes"),
        ('{"api": {"endpoint": "x", "tokn": "y"}}', "api.tokn: unknown key; did you mean 'token'?"),
        ('{"api": {"endpoint": "x"}, "defaults": {"timeout": 0}}', "defaults.timeout: expected"),
        ("[]", "expected a JSON object"),
        ("{", "not valid JSON"),
    ],
)
def test_a_mistake_is_named_by_path_and_file(here: Path, text: str, said: str):
    path = here / "c.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        settings(path, {})
    assert said in caught.value.message
    assert str(path) in caught.value.message


def test_the_examples_keys_are_the_demonstrations():
    found = json.loads(EXAMPLE)
    assert list(found) == ["api", "defaults"]
    assert list(found["defaults"]) == ["model", "max_tokens", "temperature", "timeout"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "nope"], "no model named 'nope'"),
        (["rm", "nope"], "no model named 'nope'"),
        (["pull", "./nope.gguf"], "no file nope.gguf"),
        (["keys", "revoke", "nope"], "no key 'nope'"),
        (["mqtt", "x"], "mqtt.url: Port"),
    ],
)
def test_what_is_a_servers_is_not_configured_by_anybodys_config_json(
    here: Path, words: list[str], told: str
):
    (here / "config.json").write_text('{"model_type": "llama"}')  # of a model's folder
    (here / "config.toml").write_text('[mqtt]\nurl = "mqtt://h:99999"\n')
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 1
    assert told in found.stderr


@pytest.mark.parametrize("command", ["stream", "chat", "models"])
@pytest.mark.parametrize(
    ("name", "head", "prefix"),
    [("config.toml", "[client.api]", "client."), ("client.toml", "[api]", "")],
)
def test_a_key_is_named_as_its_file_spells_it(
    here: Path, command: str, name: str, head: str, prefix: str
):
    (here / name).write_text(f'{head}\nendpoint = "http://[h"\n')
    found = CliRunner().invoke(main, [command, "-c", name], input="x")
    assert f"penstock: {prefix}api.endpoint: " in found.stderr
    if command != "models":
        (here / name).write_text(f'{head}\nendpoint = "http://h"\n')
        found = CliRunner().invoke(main, [command, "-c", name], input="x")
        assert f"penstock: {prefix}defaults.model: missing in {name}" in found.stderr
