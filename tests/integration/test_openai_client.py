"""The released `openai` client against a live server with the embedded engine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
from tests.integration.serving import END, FINISH, SSE_HEAD, Serving, Upstream, said, serve

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    config = '[security]\nallowed_api_keys = ["sk-test"]\n'
    with serve(tmp_path_factory.mktemp("server"), config) as serving:
        yield serving


@pytest.fixture
def client(server: Serving) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url + "/v1", api_key="sk-test", max_retries=0) as client:
        yield client


def ask(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_text_streams_in_pieces_with_usage(client: openai.OpenAI):
    stream = client.chat.completions.create(
        model="default",
        messages=ask("Tell me a story about a lighthouse."),
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert len([text for text in texts if text]) > 20
    assert "lighthouse" in "".join(texts)
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens > 20
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert len({c.id for c in chunks}) == 1


def test_without_asking_there_is_no_usage_and_no_empty_choices(client: openai.OpenAI):
    stream = client.chat.completions.create(model="default", messages=ask("Hello!"), stream=True)
    for chunk in stream:
        assert chunk.choices
        assert chunk.usage is None


def test_streamed_and_whole_answers_are_the_same(client: openai.OpenAI):
    asked: dict[str, Any] = {
        "model": "default",
        "messages": ask("What is streaming?"),
        "temperature": 0,
        "seed": 1,
    }
    whole = client.chat.completions.create(**asked)
    pieces = client.chat.completions.create(**asked, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in pieces) == (
        whole.choices[0].message.content
    )
    assert whole.usage is not None
    assert whole.usage.completion_tokens > 0


def test_a_tool_call_streams_and_its_result_is_used(client: openai.OpenAI):
    messages = ask("What is the weather in Paris?")
    with client.chat.completions.stream(
        model="default", messages=messages, tools=[WEATHER], temperature=0
    ) as stream:
        deltas = [e for e in stream if e.type == "tool_calls.function.arguments.delta"]
        final = stream.get_final_completion()
    assert len(deltas) > 1
    assert final.choices[0].finish_reason == "tool_calls"
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.name == "get_weather"
    assert json.loads(calls[0].function.arguments) == {"city": "Paris"}
    turn: Any = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": calls[0].id,
                "type": "function",
                "function": {"name": "get_weather", "arguments": calls[0].function.arguments},
            }
        ],
    }
    result: Any = {
        "role": "tool",
        "tool_call_id": calls[0].id,
        "content": '{"temperature": 18, "condition": "sunny"}',
    }
    answer = client.chat.completions.create(
        model="default", messages=[*messages, turn, result], tools=[WEATHER], temperature=0
    )
    assert "18" in (answer.choices[0].message.content or "")


def test_a_json_schema_is_obeyed(client: openai.OpenAI):
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    reply_format: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    stream = client.chat.completions.create(
        model="default",
        messages=ask("Give me a JSON object with a name and an age."),
        response_format=reply_format,
        temperature=0,
        max_tokens=200,
        stream=True,
    )
    found = json.loads("".join(c.choices[0].delta.content or "" for c in stream))
    assert set(found) == {"name", "age"}
    assert isinstance(found["age"], int)


def test_reasoning_comes_beside_the_answer(client: openai.OpenAI):
    stream = client.chat.completions.create(
        model="default",
        messages=ask("What is a token?"),
        reasoning_effort="low",
        temperature=0,
        stream=True,
    )
    thought, text = "", ""
    for chunk in stream:
        delta = chunk.choices[0].delta
        thought += getattr(delta, "reasoning_content", None) or ""
        text += delta.content or ""
    assert thought
    assert text
    assert "<think>" not in text


def test_leaving_in_the_middle_cancels_nothing_else(client: openai.OpenAI, server: Serving):
    other = client.chat.completions.create(
        model="default", messages=ask("Tell me a story about a robot."), stream=True
    )
    raw = client.chat.completions.with_raw_response.create(
        model="default", messages=ask("Tell me a very long story about a dragon."), stream=True
    )
    stream_id = raw.headers["penstock-stream"]
    leaving = raw.parse()
    for _ in zip(range(3), leaving, strict=False):
        pass
    cancelled = httpx.post(
        f"{server.url}/v1/streams/{stream_id}/cancel", headers={"authorization": "Bearer sk-test"}
    )
    assert cancelled.json()["id"] == stream_id
    leaving.close()
    assert len(list(other)) > 5


@pytest.mark.parametrize(
    ("asked", "status", "param"),
    [
        ({"model": "no-such-model", "messages": ask("Hi")}, 404, "model"),
        ({"model": "default", "messages": []}, 400, "messages"),
        ({"model": "default", "messages": [{"role": "sage"}]}, 400, "messages[0].role"),
        ({"model": "default", "messages": ask("Hi"), "temperature": "warm"}, 400, "temperature"),
    ],
)
def test_errors_name_the_field(
    client: openai.OpenAI, asked: dict[str, object], status: int, param: str
):
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**asked)  # type: ignore[call-overload]
    assert caught.value.status_code == status
    assert caught.value.body["param"] == param  # type: ignore[index]


def test_a_wrong_key_is_refused_in_openais_words(server: Serving):
    with (
        openai.OpenAI(base_url=server.url + "/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.models.list()
    assert "wrong" not in str(caught.value.body)


def test_models_are_listed_and_found(client: openai.OpenAI):
    models = client.models.list().data
    assert models
    assert client.models.retrieve(models[0].id).id == models[0].id


def test_an_error_in_the_middle_reaches_the_client(tmp_path: Path):
    broken: list[bytes | float | str] = [SSE_HEAD, said("one "), said("two"), "reset"]
    upstream = Upstream([broken, [SSE_HEAD, said("fine"), FINISH, END]])
    config = f'[bindings.up]\nengine = "openai"\nurl = "{upstream.url}"\nmodel = "scripted"\n'
    with (
        serve(tmp_path, config) as serving,
        openai.OpenAI(base_url=serving.url + "/v1", api_key="none", max_retries=0) as client,
    ):
        text = ""
        stream = client.chat.completions.create(model="default", messages=ask("Hi"), stream=True)
        with pytest.raises((openai.APIError, httpx.HTTPError)):
            for chunk in stream:
                text += chunk.choices[0].delta.content or ""
        assert text == "one two"
        again = client.chat.completions.create(model="default", messages=ask("Hi"))
        assert again.choices[0].message.content == "fine"
    upstream.close()
