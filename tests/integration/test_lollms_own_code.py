"""Scripted personalities and the server's own functions, as the page shows them, live."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import sseclient
from tests.integration.serving import ROOT, Serving, serve

PAGE = (ROOT / "docs" / "personalities.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHEET = (
    "name: {name}\nversion: 1\nauthor: me\npersonality_description: A test.\n"
    "personality_conditioning: Be brief.\nscript_path: script.py\n"
)
CITIES = '''\
async def get_weather(city: str) -> dict[str, object]:
    """Get the weather in a city"""
    return {"city": city, "sky": "raining frogs"}
'''
SYNC = "def run_workflow(prompt, params, context):\n    return prompt.upper()\n"
BROKEN = "async def run_workflow(prompt, params, context):\n    raise ValueError('a secret')\n"
LATE = (
    "async def run_workflow(prompt, params, context):\n"
    "    yield 'so far'\n    raise ValueError('a secret')\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("server")
    scripts = {"Summarizer": EXAMPLES[0], "Loud": SYNC, "Broken": BROKEN, "Late": LATE}
    for name, script in {**scripts, "Unlisted": "raise SystemExit('it was run')"}.items():
        (folder / "p" / name.lower()).mkdir(parents=True)
        (folder / "p" / name.lower() / "config.yaml").write_text(SHEET.format(name=name))
        (folder / "p" / name.lower() / "script.py").write_text(script)
    (folder / "f").mkdir()
    (folder / "f" / "weather.py").write_text(EXAMPLES[1])
    (folder / "f" / "cities.py").write_text(CITIES)
    (folder / "f" / "unlisted.py").write_text("raise SystemExit('it was run')")
    config = (
        f"[paths]\npersonalities_folder = '{folder / 'p'}'\nfunctions_folder = '{folder / 'f'}'\n"
        f"[personalities]\nscripts = {json.dumps(list(scripts))}\n"
        "[functions]\nmodules = ['weather', 'cities']\n"
    )
    with serve(folder / "home", config) as serving:
        yield serving


def body(text: str, **more: object) -> dict[str, object]:
    item = {"type": "text", "role": "user_prompt", "data": text}
    return {"input_data": [item], "parameters": {"temperature": 0, "max_tokens": 60}, **more}


def frames(server: Serving, asked: dict[str, object]) -> list[dict[str, object]]:
    reply = requests.post(
        f"{server.url}/api/v1/generate", json={**asked, "stream": True}, stream=True, timeout=60
    )
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = sseclient.SSEClient(reply).events()  # type: ignore[arg-type]
    return [json.loads(event.data) for event in events]


def items(frame: dict[str, object]) -> list[dict[str, Any]]:
    found = frame["content"]
    assert isinstance(found, list)
    return found


def whole(server: Serving, asked: dict[str, object]) -> requests.Response:
    return requests.post(f"{server.url}/api/v1/generate", json=asked, timeout=60)


def test_listings_tell_what_there_is(server: Serving):
    functions = requests.get(f"{server.url}/api/v1/list_functions", timeout=30).json()
    assert functions == {"functions": ["cities.get_weather", "weather.current"]}
    found = requests.get(f"{server.url}/api/v1/list_personalities", timeout=30).json()
    scripted = {name for name, one in found["personalities"].items() if one["is_scripted"]}
    assert scripted == {"Summarizer", "Loud", "Broken", "Late", "Unlisted"}
    assert str(server.folder.parent) not in json.dumps(found)


def test_the_pages_script_streams_what_the_real_model_says(server: Serving):
    asked = body("Rain falls. Rivers rise.", personality="Summarizer")
    said = frames(server, asked)
    assert said[0] == {"type": "info", "content": "reading", "thoughts": None, "metadata": {}}
    texts = [frame["content"] for frame in said if frame["type"] == "chunk" and frame["content"]]
    assert len(texts) > 3
    (item,) = items(said[-1])
    assert item["data"] == "".join(str(text) for text in texts)
    usage = item["metadata"]["usage"]
    assert usage["completion_tokens"] > len(texts)  # that of both questions
    envelope = whole(server, asked).json()
    assert envelope["personality"] == "Summarizer"
    assert isinstance(envelope["output"][0]["data"], str)


def test_a_script_that_returns_its_answer_whole_is_streamed_too(server: Serving):
    said = frames(server, body("hello", personality="Loud"))
    assert [frame["type"] for frame in said] == ["chunk", "final"]
    assert said[0]["content"] == "HELLO"
    plain = whole(server, {"prompt": "hello", "personality": "Loud"})
    assert (plain.headers["content-type"], plain.text) == ("text/plain; charset=utf-8", "HELLO")


def test_a_script_that_fails_says_so_and_none_of_its_words(server: Serving):
    reply = whole(server, body("hello", personality="Broken"))
    assert reply.status_code == 500
    assert "'Broken' failed: ValueError" in reply.json()["detail"]
    assert "a secret" not in reply.text
    said = frames(server, body("hello", personality="Late"))
    assert [frame["type"] for frame in said] == ["chunk", "error", "final"]
    text, error = items(said[-1])
    assert (text["data"], error["type"]) == ("so far", "error")
    assert text["metadata"]["finish_reason"] == "error"
    assert "a secret" not in json.dumps(said)
    assert "a secret" in server.said


def test_a_script_that_is_not_listed_is_refused_with_what_to_do(server: Serving):
    reply = whole(server, body("hello", personality="Unlisted"))
    assert reply.status_code == 422
    (problem,) = reply.json()["detail"]
    assert problem["loc"] == ["body", "personality"]
    assert "add 'Unlisted' to [personalities] scripts" in problem["msg"]


def test_the_model_calls_a_function_and_answers_with_its_result(server: Serving):
    asked = body("What is the weather in Paris?", functions=["cities.get_weather"])
    said = frames(server, asked)
    told = [frame["content"] for frame in said if frame["type"] == "info"]
    assert "calling cities.get_weather" in told
    assert any(str(text).startswith('cities.get_weather: {"city":"Paris') for text in told)
    assert not [frame for frame in said if frame["type"] == "function_call"]
    (item,) = items(said[-1])
    assert item["type"] == "text"
    assert item["metadata"]["finish_reason"] == "stop"
    # Whoever reads the stream itself sees the call as the model made it.
    reply = whole(server, asked)
    assert [item["type"] for item in reply.json()["output"]] == ["text"]
    stream = reply.headers["penstock-stream"]
    raw = requests.get(f"{server.url}/v1/streams/{stream}", timeout=30).text
    assert '"name":"cities__get_weather"' in raw


def test_functions_that_there_are_not_and_bindings_that_cannot(server: Serving):
    reply = whole(server, body("hello", functions=["cities.nothing"]))
    assert (reply.status_code, "cities.nothing" in reply.json()["detail"]) == (404, True)
    scripted = whole(server, body("hello", functions=["cities.get_weather"], personality="Loud"))
    assert scripted.status_code == 400
    assert "functions" in scripted.json()["detail"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[personalities]\nscripts = ['lollms']\n", "personalities.scripts"),
        ("[functions]\nmodules = ['x']\n", "functions.modules"),
    ],
)
def test_a_server_whose_own_code_is_not_there_does_not_start(
    tmp_path: Path, config: str, said: str
):
    with (
        pytest.raises(AssertionError, match="the server stopped at its start") as caught,
        serve(tmp_path, config),
    ):
        pass
    assert said in str(caught.value)
    assert "Traceback" not in str(caught.value)
