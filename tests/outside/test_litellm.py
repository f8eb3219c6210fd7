"""LiteLLM as a client of two dialects, `openai/` and `ollama_chat/`."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.outside.live import HERE, VENVS, found, penstock, run
from tests.outside.scripted import TEXT

DIALECTS = ("openai", "ollama_chat")
THREE = ["magic_function", {"input": 3}]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with penstock(tmp_path_factory.mktemp("server")) as serving:
        python = VENVS / "litellm" / "bin" / "python"
        yield found(run([python, "clients.py"], serving, HERE / "litellm", 100))


def test_every_case_ran(results: dict[str, Any]):
    assert len(results) == 18
    assert [name for name, found in results.items() if "threw" in found] == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_text_is_the_same_in_every_way_of_asking(results: dict[str, Any], dialect: str):
    whole, streamed = results[f"{dialect}.completion"], results[f"{dialect}.streaming"]
    text = whole["text"]
    assert text
    assert results[f"{dialect}.acompletion"] == {"text": text, "streamed": text}
    assert streamed["text"] == text
    assert streamed["deltas"] > 1
    assert streamed["finish"] == whole["finish"] == "stop"
    assert streamed["tokens"] == whole["tokens"]
    assert min(whole["tokens"]) > 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_tool_is_called_and_its_result_answered(results: dict[str, Any], dialect: str):
    tools = results[f"{dialect}.tools"]
    assert tools["whole"] == THREE
    assert tools["streamed"] == THREE
    assert tools["finish"] == "tool_calls"
    assert tools["after"] == TEXT


@pytest.mark.parametrize("dialect", DIALECTS)
def test_reasoning_comes_beside_the_answer(results: dict[str, Any], dialect: str):
    found = results[f"{dialect}.reasoning"]
    assert found["text"]
    assert found["thought"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_json_schema_is_obeyed(results: dict[str, Any], dialect: str):
    found = results[f"{dialect}.json_schema"]
    assert list(found) == ["old"]
    assert isinstance(found["old"], bool)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_embeddings(results: dict[str, Any], dialect: str):
    first, second = results[f"{dialect}.embeddings"]
    assert first == second > 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_errors_are_the_clients_own(results: dict[str, Any], dialect: str):
    assert results[f"{dialect}.unknown_model"] == {"name": "NotFoundError", "status": 404}
    broken = results[f"{dialect}.broken_stream"]
    assert broken["text"] == "one two"
    assert broken["name"] is not None
