"""A conversation with a tool, both of its turns on the demo model, in every dialect."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import ollama
import openai
import pytest
import requests
from tests.integration.hearing import READERS, Heard
from tests.integration.serving import Serving, serve

MODEL = "penstock-demo"
CITY = "Oslo"
QUESTION = f"What is the weather in {CITY}?"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ABOUT = {"name": "get_weather", "description": "Get the weather in a city", "parameters": SCHEMA}
TOOLS = [{"type": "function", "function": ABOUT}]
RESULT = '{"temperature": 7, "sky": "cloudy"}'
SESSIONS = count()


@dataclass
class Way:
    """How a dialect says it. `first`: path and body of the question; `then`: of the result, given
    the raw answer; `dialect`: whose readers understand it.
    """

    dialect: str
    first: Callable[[], tuple[str, dict[str, Any]]]
    then: Callable[[dict[str, Any], Heard, bytes], dict[str, Any]]


def _openai() -> tuple[str, dict[str, Any]]:
    messages = [{"role": "user", "content": QUESTION}]
    return "/v1/chat/completions", {
        "model": MODEL,
        "messages": messages,
        "tools": TOOLS,
        "temperature": 0,
    }


def _openai_then(asked: dict[str, Any], heard: Heard, body: bytes) -> dict[str, Any]:
    ((name, arguments),) = heard.calls
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments)},
    }
    said = [
        {"role": "assistant", "content": heard.text or None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": RESULT},
    ]
    return {**asked, "messages": [*asked["messages"], *said]}


def _ollama() -> tuple[str, dict[str, Any]]:
    messages = [{"role": "user", "content": QUESTION}]
    return "/api/chat", {
        "model": MODEL,
        "messages": messages,
        "tools": TOOLS,
        "options": {"temperature": 0},
    }


def _ollama_then(asked: dict[str, Any], heard: Heard, body: bytes) -> dict[str, Any]:
    ((name, arguments),) = heard.calls
    calls = [{"function": {"name": name, "arguments": arguments}}]
    said = [
        {"role": "assistant", "content": heard.text, "tool_calls": calls},
        {"role": "tool", "tool_name": name, "content": RESULT},
    ]
    return {**asked, "messages": [*asked["messages"], *said]}


def _lollms() -> tuple[str, dict[str, Any]]:
    data = [{"type": "text", "role": "user_prompt", "data": QUESTION}]
    parameters = {"tools": TOOLS, "temperature": 0}
    return "/api/v1/generate", {
        "generation_type": "ttt",
        "model_name": MODEL,
        "input_data": data,
        "parameters": parameters,
    }


def _lollms_then(asked: dict[str, Any], heard: Heard, body: bytes) -> dict[str, Any]:
    ((name, arguments),) = heard.calls
    told = {"tool_call_id": "call_1", "name": name, "arguments": arguments}
    result = {"type": "text", "role": "tool_result", "data": RESULT, "metadata": told}
    return {**asked, "input_data": [*asked["input_data"], result]}


def _portal() -> tuple[str, dict[str, Any]]:
    messages = [{"role": "user", "content": QUESTION}]
    return "/api/llm/chat", {
        "model": MODEL,
        "messages": messages,
        "tools": TOOLS,
        "temperature": 0,
    }


def _portal_then(asked: dict[str, Any], heard: Heard, body: bytes) -> dict[str, Any]:
    ((name, arguments),) = heard.calls
    said = [
        {
            "role": "assistant",
            "content": heard.text,
            "tool_calls": [{"id": "call_1", "name": name, "arguments": arguments}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": RESULT},
    ]
    return {**asked, "messages": [*asked["messages"], *said]}


def _session() -> tuple[str, dict[str, Any]]:
    return "/api/llm/chat/session", {
        "session_id": f"tools-{next(SESSIONS)}",
        "message": QUESTION,
        "model": MODEL,
        "tools": TOOLS,
        "temperature": 0,
    }


def _session_then(asked: dict[str, Any], heard: Heard, body: bytes) -> dict[str, Any]:
    found = [call for block in _objects(body) for call in block.get("tool_calls", [])]
    results = [{"tool_call_id": found[0]["id"], "content": RESULT}]
    return {**{k: v for k, v in asked.items() if k != "message"}, "tool_results": results}


def _objects(body: bytes) -> list[dict[str, Any]]:
    text = body.decode()
    if not text.startswith("data:"):
        return [json.loads(text)]
    return [json.loads(block[6:]) for block in text.split("\n\n") if block.startswith("data: ")]


WAYS = {
    "openai_chat": Way("openai_chat", _openai, _openai_then),
    "ollama": Way("ollama", _ollama, _ollama_then),
    "lollms": Way("lollms", _lollms, _lollms_then),
    "portal_chat": Way("portal_chat", _portal, _portal_then),
    "portal_session": Way("portal_chat", _session, _session_then),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    config = '[bindings.embedded]\nengine = "llamacpp"\n'
    with serve(tmp_path_factory.mktemp("tools"), config) as serving:
        yield serving


def asked(server: Serving, way: Way, path: str, body: dict[str, Any], *, stream: bool) -> bytes:
    if way.dialect == "portal_chat":
        path += "/stream" if stream else ""
    else:
        body = {**body, "stream": stream}
    answer = requests.post(server.url + path, json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.content


def test_every_dialect_that_tells_calls_is_here():
    assert {way.dialect for way in WAYS.values()} == set(READERS)


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_call_and_its_result(server: Serving, name: str, stream: bool):
    way = WAYS[name]
    read = READERS[way.dialect][0 if stream else 1]
    path, question = way.first()
    first = asked(server, way, path, question, stream=stream)
    heard = read(first)
    assert heard.calls == [("get_weather", {"city": CITY})]
    second = read(asked(server, way, path, way.then(question, heard, first), stream=stream))
    # The demo model was taught to tell what a tool found, not to call it again.
    assert not second.calls
    assert second.text.strip()


def test_the_openai_client_goes_through_both_turns(server: Serving):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="x") as client:
        messages: list[Any] = [{"role": "user", "content": QUESTION}]
        tools: Any = TOOLS
        with client.chat.completions.stream(
            model=MODEL, messages=messages, tools=tools, tool_choice="required", temperature=0
        ) as stream:
            done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
            message = stream.get_final_completion().choices[0].message
        assert [json.loads(event.arguments) for event in done] == [{"city": CITY}]
        assert message.tool_calls
        assert not message.content
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": RESULT}
        messages += [message, result]
        last = client.chat.completions.create(
            model=MODEL, messages=messages, tools=tools, temperature=0
        )
        assert last.choices[0].finish_reason == "stop"
        assert last.choices[0].message.content


def test_the_ollama_client_goes_through_both_turns(server: Serving):
    with ollama.Client(host=server.url) as client:
        messages: list[Any] = [{"role": "user", "content": QUESTION}]
        tools: Any = TOOLS
        options = {"temperature": 0}
        calls: list[Any] = []
        for part in client.chat(MODEL, messages, tools=tools, stream=True, options=options):
            calls += part.message.tool_calls or []
        assert [dict(call.function.arguments) for call in calls] == [{"city": CITY}]
        messages += [
            {"role": "assistant", "content": "", "tool_calls": calls},
            {"role": "tool", "tool_name": "get_weather", "content": RESULT},
        ]
        last = client.chat(MODEL, messages, tools=tools, options=options)
        assert last.done_reason == "stop"
        assert last.message.content
