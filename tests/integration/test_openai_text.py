"""The released `openai` client, in its less common ways, on a live server with the demo model."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionFunctionToolParam
from pydantic import BaseModel
from tests.integration.serving import Serving, serve

CONFIG = """
[security]
allowed_api_keys = ["sk-test"]

[bindings.local]
engine = "llamacpp"

[models."org/demo"]
binding = "local"
name = "penstock-demo"
"""
WEATHER: ChatCompletionFunctionToolParam = {
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
ADD: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}
MODEL = "penstock-demo"


class Person(BaseModel):
    """What a reply is parsed to."""

    name: str
    age: int


class GetWeather(BaseModel):
    """Get the current weather in a city."""

    city: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serve(tmp_path_factory.mktemp("server"), CONFIG) as serving:
        yield serving


@pytest.fixture
def client(server: Serving) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url + "/v1", api_key="sk-test", max_retries=0) as client:
        yield client


def ask(text: str) -> Any:
    return [{"role": "user", "content": text}]


# ── chat ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_stream_helper_tells_every_event(client: openai.OpenAI):
    with client.chat.completions.stream(
        model=MODEL, messages=ask("Hello!"), temperature=0, max_completion_tokens=30
    ) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    deltas = [event.delta for event in events if event.type == "content.delta"]
    done = [event for event in events if event.type == "content.done"]
    assert "".join(deltas) == final.choices[0].message.content
    assert [event.content for event in done] == [final.choices[0].message.content]
    assert final.choices[0].finish_reason in ("stop", "length")


def test_a_reply_is_parsed_to_a_pydantic_model(client: openai.OpenAI):
    reply = client.chat.completions.parse(
        model=MODEL,
        messages=ask("Give me a JSON object with a name and an age."),
        response_format=Person,
        temperature=0,
        max_tokens=200,
    )
    assert isinstance(reply.choices[0].message.parsed, Person)


def test_a_streamed_reply_is_parsed_to_a_pydantic_model(client: openai.OpenAI):
    with client.chat.completions.stream(
        model=MODEL,
        messages=ask("Give me a JSON object with a name and an age."),
        response_format=Person,
        temperature=0,
        max_tokens=200,
    ) as stream:
        found = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(found, Person)


def test_a_json_object_is_json(client: openai.OpenAI):
    reply = client.chat.completions.create(
        model=MODEL,
        messages=ask("Give me a JSON object with a name and an age."),
        response_format={"type": "json_object"},
        temperature=0,
        max_tokens=200,
    )
    assert isinstance(json.loads(reply.choices[0].message.content or ""), dict)


def test_a_calls_arguments_are_parsed(client: openai.OpenAI):
    reply = client.chat.completions.parse(
        model=MODEL,
        messages=ask("What is the weather in Paris?"),
        tools=[openai.pydantic_function_tool(GetWeather, name="get_weather")],
        temperature=0,
    )
    assert reply.choices[0].finish_reason == "tool_calls"
    calls = reply.choices[0].message.tool_calls
    assert calls is not None
    assert isinstance(calls[0].function.parsed_arguments, GetWeather)


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "get_weather"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "required",
                "tools": [{"type": "function", "function": {"name": "get_weather"}}],
            },
        },
    ],
    ids=["required", "named", "allowed"],
)
def test_a_call_can_be_demanded(client: openai.OpenAI, choice: Any):
    tools = [WEATHER] if choice == "required" else [ADD, WEATHER]
    reply = client.chat.completions.create(
        model=MODEL,
        messages=ask("What is the weather in Paris?"),
        tools=tools,
        tool_choice=choice,
        temperature=0,
    )
    calls = reply.choices[0].message.tool_calls
    assert calls
    assert {call.function.name for call in calls if call.type == "function"} == {"get_weather"}


def test_a_call_can_be_forbidden(client: openai.OpenAI):
    reply = client.chat.completions.create(
        model=MODEL,
        messages=ask("What is the weather in Paris?"),
        tools=[WEATHER],
        tool_choice="none",
        temperature=0,
        max_tokens=40,
    )
    assert reply.choices[0].message.tool_calls is None


def test_log_probabilities_are_the_same_streamed_and_whole(client: openai.OpenAI):
    asked: dict[str, Any] = {
        "model": MODEL,
        "messages": ask("Hello!"),
        "temperature": 0,
        "max_tokens": 12,
        "logprobs": True,
        "top_logprobs": 3,
    }
    whole = client.chat.completions.create(**asked).choices[0]
    assert whole.logprobs is not None
    assert whole.logprobs.content
    for token in whole.logprobs.content:
        assert len(token.top_logprobs) == 3
        assert token.logprob <= 0
        assert bytes(token.bytes or []).decode(errors="replace")
    told = b"".join(bytes(token.bytes or []) for token in whole.logprobs.content)
    assert (whole.message.content or "") in told.decode()
    chunks = list(client.chat.completions.create(**asked, stream=True))
    scored = [c.choices[0].logprobs for c in chunks if c.choices[0].logprobs]
    streamed = [token.token for one in scored for token in one.content or []]
    assert streamed == [token.token for token in whole.logprobs.content]


def test_a_seed_makes_an_answer_reproducible(client: openai.OpenAI):
    def said(seed: int) -> str:
        reply = client.chat.completions.create(
            model=MODEL,
            messages=ask("Tell me a story about a dragon."),
            temperature=1.5,
            seed=seed,
            max_tokens=40,
        )
        return reply.choices[0].message.content or ""

    said(7)  # from now on the slot has read the prompt
    assert said(7) == said(7)
    assert len({said(seed) for seed in range(4)}) > 1


def test_three_choices_come_apart_streamed_and_whole(client: openai.OpenAI):
    asked: dict[str, Any] = {
        "model": MODEL,
        "messages": ask("Tell me a story about a dragon."),
        "n": 3,
        "temperature": 1.5,
        "seed": 3,
        "max_tokens": 20,
    }
    whole = client.chat.completions.create(**asked)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in whole.choices}) > 1
    texts, ends = ["", "", ""], [0, 0, 0]
    for chunk in client.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            assert not ends[choice.index]
            texts[choice.index] += choice.delta.content or ""
            ends[choice.index] += choice.finish_reason is not None
    assert all(texts)
    assert ends == [1, 1, 1]
    counts = whole.usage
    assert counts is not None
    assert 20 < counts.completion_tokens <= 60


def test_two_texts_come_apart_streamed_and_whole(client: openai.OpenAI):
    asked: dict[str, Any] = {"model": MODEL, "prompt": "Once upon", "n": 2, "seed": 3}
    whole = client.completions.create(**asked, temperature=1.5, echo=True)
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert all(choice.text.startswith("Once upon") for choice in whole.choices)
    chunks = list(client.completions.create(**asked, temperature=1.5, stream=True))
    ends = [c.choices[0].index for c in chunks if c.choices[0].finish_reason]
    assert sorted(ends) == [0, 1]


def test_an_answer_ends_at_its_limit_and_at_its_stop(client: openai.OpenAI):
    story = ask("Tell me a story about a lighthouse.")
    short = client.chat.completions.create(
        model=MODEL, messages=story, temperature=0, max_completion_tokens=5
    )
    assert short.choices[0].finish_reason == "length"
    assert short.usage is not None
    assert short.usage.completion_tokens == 5
    stopped = client.chat.completions.create(
        model=MODEL, messages=story, temperature=0, stop=["."], max_tokens=200
    )
    assert stopped.choices[0].finish_reason == "stop"
    assert "." not in (stopped.choices[0].message.content or "")


@pytest.mark.parametrize(
    "more",
    [
        {"reasoning_effort": "none"},
        {"extra_body": {"enable_thinking": False}},
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
        {"extra_body": {"extra_body": {"enable_thinking": False}}},
    ],
    ids=["effort", "top", "template", "nested"],
)
def test_thinking_is_turned_off_in_every_spelling(client: openai.OpenAI, more: Any):
    reply = client.chat.completions.create(
        model=MODEL, messages=ask("What is a token?"), temperature=0, **more
    )
    assert not (reply.choices[0].message.model_extra or {}).get("reasoning_content")
    assert reply.choices[0].message.content


def test_who_answered_and_how_fast_is_told(client: openai.OpenAI):
    reply = client.chat.completions.create(model=MODEL, messages=ask("Hello!"), max_tokens=10)
    assert (reply.model_extra or {})["backend"] == {
        "machine_name": "local",
        "engine_type": "llamacpp",
    }
    assert reply.usage is not None
    assert (reply.usage.model_extra or {})["tokens_per_second"] > 0


def test_headers_name_the_stream_and_what_was_ignored(client: openai.OpenAI):
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=ask("Hello!"), max_tokens=5, user="u", metadata={"a": "b"}
    )
    assert raw.headers["penstock-ignored"] == "user, metadata"
    assert raw.parse().id == f"chatcmpl-{raw.headers['penstock-stream']}"
    assert raw.headers["x-request-id"]


async def test_the_asynchronous_client_asks_many_at_once(server: Serving):
    async with openai.AsyncOpenAI(
        base_url=server.url + "/v1", api_key="sk-test", max_retries=0
    ) as client:

        async def streamed(n: int) -> str:
            stream = await client.chat.completions.create(
                model=MODEL, messages=ask(f"Hello {n}!"), max_tokens=10, stream=True
            )
            return "".join([c.choices[0].delta.content or "" async for c in stream])

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(streamed(n)) for n in range(4)]
            whole = group.create_task(
                client.completions.create(model=MODEL, prompt="Hello", max_tokens=5)
            )
    assert all(task.result() for task in tasks)
    assert whole.result().choices[0].finish_reason in ("stop", "length")


# ── completions ──────────────────────────────────────────────────────────────────────────────────


def test_a_text_is_continued_streamed_as_whole(client: openai.OpenAI):
    asked: dict[str, Any] = {"model": MODEL, "prompt": "Once upon a time", "temperature": 0}
    whole = client.completions.create(**asked)
    assert whole.object == "text_completion"
    assert whole.usage is not None
    assert whole.usage.completion_tokens <= 16
    chunks = list(
        client.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    assert "".join(c.choices[0].text for c in chunks if c.choices) == whole.choices[0].text
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == (
        whole.choices[0].finish_reason
    )
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_a_prompt_is_echoed(client: openai.OpenAI):
    asked: dict[str, Any] = {"model": MODEL, "prompt": ["Once upon"], "temperature": 0}
    plain = client.completions.create(**asked).choices[0].text
    assert client.completions.create(**asked, echo=True).choices[0].text == "Once upon" + plain
    chunks = client.completions.create(**asked, echo=True, stream=True)
    assert "".join(c.choices[0].text for c in chunks if c.choices) == "Once upon" + plain


def test_legacy_log_probabilities_have_four_lists_of_one_length(client: openai.OpenAI):
    prompt = "Once upon"
    choice = client.completions.create(
        model=MODEL, prompt=prompt, temperature=0, max_tokens=6, logprobs=2
    ).choices[0]
    scores = choice.logprobs
    assert scores is not None
    assert scores.tokens
    assert scores.top_logprobs
    assert scores.token_logprobs
    assert scores.text_offset
    assert len(scores.tokens) == len(scores.token_logprobs) == len(scores.top_logprobs)
    assert scores.text_offset[0] == len(prompt)
    assert scores.text_offset == sorted(scores.text_offset)
    assert all(token in top for token, top in zip(scores.tokens, scores.top_logprobs, strict=True))


def test_messages_are_answered_as_chat_where_llmaas_does_so(client: openai.OpenAI):
    found = client.post(
        "/completions", cast_to=object, body={"model": MODEL, "messages": ask("Hello!")}
    )
    assert isinstance(found, dict)
    assert found["object"] == "chat.completion"
    assert found["choices"][0]["message"]["content"]


# ── embeddings ───────────────────────────────────────────────────────────────────────────────────


def test_texts_become_vectors_the_same_in_both_encodings(client: openai.OpenAI):
    texts = ["The food was delicious", "and the waiter"]
    as_base64 = client.embeddings.create(model=MODEL, input=texts)
    as_floats = client.embeddings.create(model=MODEL, input=texts, encoding_format="float")
    assert [one.index for one in as_base64.data] == [0, 1]
    assert as_base64.usage.prompt_tokens == as_base64.usage.total_tokens > 0
    for one, other in zip(as_base64.data, as_floats.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-4)
    alone = client.embeddings.create(model=MODEL, input=texts[0]).data[0]
    assert alone.embedding == pytest.approx(as_base64.data[0].embedding, abs=1e-3)


def test_a_hint_of_an_embedding_is_named(client: openai.OpenAI):
    raw = client.embeddings.with_raw_response.create(model=MODEL, input="x", user="u")
    assert raw.headers["penstock-ignored"] == "user"
    assert len(raw.parse().data) == 1


# ── models and errors ────────────────────────────────────────────────────────────────────────────


def test_an_alias_with_a_slash_is_a_model_and_its_model_names_it(client: openai.OpenAI):
    listed = {model.id: model.model_extra or {} for model in client.models.list()}
    assert listed["org/demo"]["root"] == MODEL
    assert listed[MODEL]["aliases"] == ["org/demo"]
    one = client.models.retrieve("org/demo")
    assert one.id == "org/demo"
    assert client.models.retrieve(MODEL).model_extra == listed[MODEL]
    assert listed[MODEL]["max_model_len"] > 0


def test_a_model_is_found_under_every_name_that_a_chat_takes(client: openai.OpenAI):
    for name in MODEL, "org/demo":
        assert client.models.retrieve(f"{name}:latest").id == name
    binding = client.models.retrieve(MODEL).owned_by
    for name in MODEL, f"{MODEL}:latest", f"{binding}/{MODEL}", f"{binding}/{MODEL}:latest":
        assert client.models.retrieve(name).id == MODEL, name
        said = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "Hi"}], max_tokens=1
        )
        assert said.choices, name
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(f"{MODEL}:other")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 129}, "n"),
        ({"verbosity": "low"}, "verbosity"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "a", "format": "wav"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"temperature": 9}, "temperature"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_honoured_is_refused_by_name(client: openai.OpenAI, more: Any, param: str):
    with pytest.raises(openai.BadRequestError, match=param) as caught:
        client.chat.completions.create(model=MODEL, messages=ask("Hi"), **more)
    assert caught.value.param == param


def test_pictures_are_refused_by_a_model_that_sees_none(client: openai.OpenAI):
    picture: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    with pytest.raises(openai.BadRequestError, match="local") as caught:
        client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": [picture]}],
        )
    assert caught.value.param == "messages"


def test_sound_is_refused_by_name(client: openai.OpenAI):
    sound: Any = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    with pytest.raises(openai.BadRequestError, match="input_audio") as caught:
        client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": [sound]}],
        )
    assert caught.value.param == "messages[0].content[0]"


def test_completions_and_embeddings_have_openais_errors(client: openai.OpenAI):
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="gpt-9", prompt="x")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="2 prompts") as several:
        client.completions.create(model=MODEL, prompt=["a", "b"])
    assert several.value.param == "prompt"
    with pytest.raises(openai.BadRequestError, match="tokens") as tokens:
        client.embeddings.create(model=MODEL, input=[1, 2, 3])
    assert tokens.value.param == "input"
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="gpt-9", input="x")
    with (
        openai.OpenAI(base_url=client.base_url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.embeddings.create(model=MODEL, input="x")
