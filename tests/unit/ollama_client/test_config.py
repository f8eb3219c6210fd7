"""The settings of `OllamaClient`: the guide's, and what the environment says."""

import inspect
from collections.abc import Callable
from dataclasses import asdict

import pytest

from penstock import llm_client
from penstock.core.errors import ConfigError
from penstock.core.secrets import Secret
from penstock.ollama_client import (
    Config,
    ModelInfo,
    ModelResponse,
    OllamaClient,
    ResponseStyle,
    SearchProcessingMethod,
    StreamChunk,
)

NAMES = ("PENSTOCK_URL", "OLLAMA_HOST", "PENSTOCK_MODEL", "PENSTOCK_KEY")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_the_defaults_are_those_of_the_guides_time():
    config = Config.from_defaults()
    ollama = asdict(config.ollama)
    assert list(ollama.items())[:8] == [
        ("url", "http://localhost:11434/api/generate"),
        ("model_name", "tinyllama"),
        ("timeout_first_request", 120),
        ("timeout_tool_request", 150),
        ("response_style", ResponseStyle.CONCISE),
        ("temperature", 1),
        ("num_predict", 100),
        ("top_p", 0.5),
    ]
    assert list(asdict(config.search).values()) == [
        SearchProcessingMethod.EXTRACTION,
        3,
        150,
        "tinyllama",
        30,
    ]
    assert list(asdict(config.ui).values()) == [True, True, True, ("|", "/", "-", "\\")]


@pytest.mark.parametrize(
    ("name", "said", "base"),
    [
        ("OLLAMA_HOST", "gpu", "http://gpu:11434"),
        ("OLLAMA_HOST", "gpu:80", "http://gpu:80"),
        ("OLLAMA_HOST", ":9000", "http://127.0.0.1:9000"),
        ("OLLAMA_HOST", "0.0.0.0", "http://127.0.0.1:11434"),
        ("OLLAMA_HOST", "[::1]:5", "http://[::1]:5"),
        ("OLLAMA_HOST", "https://gpu/ollama/", "https://gpu/ollama"),
        ("PENSTOCK_URL", "box", "http://box:9601"),
        ("PENSTOCK_URL", "http://box:1/v1", "http://box:1"),
        ("PENSTOCK_URL", "http://box:1/api/generate", "http://box:1"),
    ],
)
def test_the_address(monkeypatch: pytest.MonkeyPatch, name: str, said: str, base: str):
    monkeypatch.setenv(name, said)
    config = Config.from_defaults()
    assert config.ollama.url == f"{base}/api/generate"
    client = OllamaClient(config.ollama)
    assert (client._base_url, client._tags_url) == (base, f"{base}/api/tags")


def test_penstocks_own_names_win(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OLLAMA_HOST", "there")
    monkeypatch.setenv("PENSTOCK_URL", "http://here:1")
    monkeypatch.setenv("PENSTOCK_MODEL", "demo")
    monkeypatch.setenv("PENSTOCK_KEY", "s3cret")
    found = Config.from_defaults().ollama
    assert (found.url, found.model_name) == ("http://here:1/api/generate", "demo")
    assert found.key == Secret("s3cret")
    assert "s3cret" not in repr(found)


def test_a_name_and_a_password_in_the_address_are_kept_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("OLLAMA_HOST", "https://me:s3cret@gpu/ollama")
    found = Config.from_defaults().ollama
    assert found.url == "https://me:s3cret@gpu/ollama/api/generate"
    assert repr(found).startswith("OllamaConfig(url='https://***@gpu/ollama/api/generate', model_")
    monkeypatch.setenv("OLLAMA_HOST", "http://me:s3cret/@gpu")
    with pytest.raises(ConfigError) as caught:
        Config.from_defaults()
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize("said", ["ftp://box", "http://", "http://box:port", "http://[::1"])
def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch, said: str):
    monkeypatch.setenv("PENSTOCK_URL", said)
    with pytest.raises(ConfigError, match="PENSTOCK_URL: ") as caught:
        Config.from_defaults()
    assert caught.value.param == "PENSTOCK_URL"


def test_a_client_keeps_its_address():
    config = Config()
    client = OllamaClient(config.ollama)
    config.update_ollama_url("http://elsewhere/api/generate")
    config.update_model_name("m")
    config.set_temperature(0.2)
    config.set_max_tokens(0)
    config.set_response_style(ResponseStyle.DETAILED)
    config.set_search_processing(SearchProcessingMethod.SIMPLE)
    assert client._base_url == "http://localhost:11434"
    assert client.config.model_name == "m"
    assert client._options() == {"temperature": 0.2, "top_p": 0.5}
    assert config.ollama.response_style.value == "detailed"
    assert config.search.processing_method.value == "simple"


def test_shapes_by_position():
    assert ModelResponse("t", True) == ModelResponse("t", True, None, None, True)
    assert StreamChunk("t", False).error is None
    assert ModelInfo("m", 5, "now") == ModelInfo(name="m", size=5, modified="now")


def test_arguments_by_position():
    def names(method: Callable[..., object]) -> list[str]:
        kinds = inspect.signature(method).parameters.values()
        return [f"{one.name}={one.default}" for one in kinds if one.kind is not one.KEYWORD_ONLY]

    asked = ["timeout=None", "options=None"]
    prompt, model = f"prompt={inspect.Parameter.empty}", "model=None"
    client = OllamaClient(Config().ollama)
    assert names(client.generate) == [prompt, model, "stream=False", *asked]
    assert names(client.generate_stream) == [prompt, model, *asked]
    assert names(Config) == ["ollama_config=None", "search_config=None", "ui_config=None"]


def test_the_clients_of_a_process_are_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PENSTOCK_MODEL", "demo")
    llm_client.get_llm_client.cache_clear()
    try:
        found = llm_client.get_llm_client()
        assert found is llm_client.get_llm_client()
        assert found.config.model_name == "demo"
    finally:
        llm_client.get_llm_client.cache_clear()
