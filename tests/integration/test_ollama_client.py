"""The released `ollama` client against a live server with the embedded engine."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import ollama
import pytest
from tests.integration.embedded import DEMO
from tests.integration.hub import Hub
from tests.integration.serving import END, SSE_HEAD, Serving, Upstream, said, serve

MODEL = "penstock-demo"
GREEDY = {"temperature": 0, "seed": 1}
HUB_NAME = "hf.co/acme/demo:Q8_0"


def get_weather(city: str) -> str:
    """Get the current weather in a city.

    Args:
        city: The name of the city

    Returns:
        What the weather is like
    """
    return f'{{"city": "{city}", "temperature": 18, "condition": "sunny"}}'


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    found = Hub({"demo-Q8_0.gguf": DEMO.read_bytes() + b"\0" * 32})
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def server(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("server")
    with serve(folder, "", environment={"HF_ENDPOINT": hub.url}) as serving:
        yield serving


@pytest.fixture
def client(server: Serving) -> Iterator[ollama.Client]:
    with ollama.Client(host=server.url) as client:
        yield client


def ask(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


# ── generate ─────────────────────────────────────────────────────────────────────────────────────


def check_figures(end: ollama.GenerateResponse | ollama.ChatResponse) -> None:
    assert end.done is True
    assert end.prompt_eval_count is not None
    assert end.prompt_eval_count > 3
    assert end.eval_count is not None
    assert end.eval_count > 3
    for name in ("total_duration", "prompt_eval_duration", "eval_duration"):
        assert end[name] > 1000, name
    assert end.load_duration is not None
    assert end.total_duration is not None
    assert end.total_duration >= (end.eval_duration or 0) + (end.prompt_eval_duration or 0)


def test_generate_streams_and_ends_with_figures(client: ollama.Client):
    parts = list(client.generate(MODEL, "What is streaming?", stream=True, options=GREEDY))
    assert len(parts) > 10
    assert all(part.model == MODEL and part.created_at for part in parts)
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    end = parts[-1]
    assert (end.response, end.done_reason) == ("", "stop")
    assert end.context
    check_figures(end)
    whole = client.generate(MODEL, "What is streaming?", options=GREEDY)
    assert whole.response == "".join(part.response or "" for part in parts)
    assert whole.done_reason == "stop"
    assert (whole.prompt_eval_count, whole.eval_count) == (end.prompt_eval_count, end.eval_count)
    check_figures(whole)


def test_an_answer_that_is_cut_says_so(client: ollama.Client):
    cut = client.generate(MODEL, "Tell me a story.", options={**GREEDY, "num_predict": 4})
    assert (cut.done_reason, cut.eval_count) == ("length", 4)
    free = client.generate(MODEL, "Hello!", options={**GREEDY, "num_predict": -1})
    assert free.done_reason == "stop"
    stopped = client.generate(MODEL, "What is streaming?", options={**GREEDY, "stop": [" "]})
    assert " " not in (stopped.response or "")


def test_the_context_of_an_answer_continues_it(client: ollama.Client):
    first = client.generate(MODEL, "My name is Zora.", options=GREEDY, system="Be brief.")
    assert first.context
    told = client.generate(MODEL, "What is my name?", options=GREEDY, context=first.context)
    messages = [
        {"role": "system", "content": "Be brief."},
        *ask("My name is Zora."),
        {"role": "assistant", "content": first.response},
        *ask("What is my name?"),
    ]
    chat = client.chat(MODEL, messages, options=GREEDY)
    assert told.response == chat.message.content
    assert told.prompt_eval_count == chat.prompt_eval_count
    # Once more on top of that, with another system prompt.
    again = client.generate(MODEL, "Bye.", system="Be kind.", options=GREEDY, context=told.context)
    turns = [*messages[1:], {"role": "assistant", "content": told.response}, *ask("Bye.")]
    kind = client.chat(MODEL, [{"role": "system", "content": "Be kind."}, *turns], options=GREEDY)
    assert again.response == kind.message.content
    assert again.prompt_eval_count == kind.prompt_eval_count


@pytest.mark.parametrize("context", [[1, 2, 3], [80, 69, 78, 83, 84, 79, 67, 75, 97]])
def test_a_context_that_is_not_ours_is_refused(client: ollama.Client, context: list[int]):
    with pytest.raises(ollama.ResponseError, match="context") as caught:
        client.generate(MODEL, "Go on", context=context)
    assert caught.value.status_code == 400


def test_a_raw_prompt_is_taken_as_it_is(client: ollama.Client):
    raw = client.generate(MODEL, "Once upon a time", raw=True, options=GREEDY | {"num_predict": 8})
    plain = client.generate(MODEL, "Once upon a time", options=GREEDY | {"num_predict": 8})
    assert raw.response
    assert raw.context is None
    assert raw.prompt_eval_count is not None
    assert plain.prompt_eval_count is not None
    assert raw.prompt_eval_count < plain.prompt_eval_count


def test_a_suffix_is_refused_where_the_model_can_not(client: ollama.Client):
    with pytest.raises(ollama.ResponseError, match="suffix") as caught:
        client.generate(MODEL, "def f(a):", suffix="    return a")
    assert caught.value.status_code == 400


def test_a_format_is_obeyed(client: ollama.Client):
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    text = "Give me a JSON object with a name and an age."
    options = GREEDY | {"num_predict": 200}
    told = client.generate(MODEL, text, format=schema, options=options)
    found = json.loads(told.response or "")
    assert set(found) == {"name", "age"}
    chat = client.chat(MODEL, ask(text), format="json", options=options, stream=True)
    assert isinstance(json.loads("".join(part.message.content or "" for part in chat)), dict)


def test_log_probabilities(client: ollama.Client):
    some = client.generate(MODEL, "Hello!", options=GREEDY, logprobs=True, top_logprobs=2)
    assert some.logprobs
    assert "".join(one.token for one in some.logprobs) == some.response
    assert all(len(one.top_logprobs or ()) == 2 for one in some.logprobs)
    parts = client.chat(MODEL, ask("Hello!"), options=GREEDY, logprobs=True, stream=True)
    said_ones = [one for part in parts for one in part.logprobs or ()]
    assert said_ones
    assert all(one.logprob <= 0 and not one.top_logprobs for one in said_ones)


def test_nothing_to_answer_loads_the_model_and_no_time_unloads_it(client: ollama.Client):
    client.generate(MODEL, keep_alive=0)
    assert [model.model for model in client.ps().models] == []
    loaded = client.generate(MODEL)
    assert (loaded.done, loaded.done_reason, loaded.response) == (True, "load", "")
    (running,) = client.ps().models
    assert running.model == MODEL
    assert running.size
    assert running.context_length
    assert running.expires_at is not None
    gone = client.chat(MODEL, [], keep_alive="0s")
    assert (gone.done_reason, gone.message.content) == ("unload", "")
    assert client.ps().models == []
    parts = list(client.chat(MODEL, [], stream=True))
    assert [part.done_reason for part in parts] == ["load"]


# ── chat ─────────────────────────────────────────────────────────────────────────────────────────


def test_chat_streams_and_ends_with_figures(client: ollama.Client):
    parts = list(client.chat(MODEL, ask("What is streaming?"), stream=True, options=GREEDY))
    assert len(parts) > 10
    assert all(part.message.role == "assistant" for part in parts)
    assert (parts[-1].message.content, parts[-1].done_reason) == ("", "stop")
    check_figures(parts[-1])
    whole = client.chat(MODEL, ask("What is streaming?"), options=GREEDY)
    assert whole.message.content == "".join(part.message.content or "" for part in parts)
    check_figures(whole)


@pytest.mark.parametrize("stream", [True, False])
def test_a_tool_is_called_and_its_result_is_used(client: Any, stream: bool):
    messages: list[Any] = ask("What is the weather in Paris?")
    told: Any = client.chat(MODEL, messages, tools=[get_weather], stream=stream, options=GREEDY)
    parts = list(told) if stream else [told]
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert [call.function.name for call in calls] == ["get_weather"]
    assert calls[0].function.arguments == {"city": "Paris"}
    assert parts[-1].done_reason == "stop"
    messages += [part.message for part in parts if part.message.tool_calls]
    messages.append({"role": "tool", "content": get_weather("Paris"), "tool_name": "get_weather"})
    answer = client.chat(MODEL, messages, tools=[get_weather], options=GREEDY)
    assert "18" in (answer.message.content or "")
    assert not answer.message.tool_calls


@pytest.mark.parametrize("think", [True, "low"])
def test_thinking_comes_beside_the_answer(client: ollama.Client, think: Any):
    parts = list(
        client.chat(MODEL, ask("What is a token?"), think=think, stream=True, options=GREEDY)
    )
    thinking = "".join(part.message.thinking or "" for part in parts)
    content = "".join(part.message.content or "" for part in parts)
    assert thinking
    assert content
    assert "<think>" not in content
    whole = client.chat(MODEL, ask("What is a token?"), think=think, options=GREEDY)
    assert (whole.message.thinking, whole.message.content) == (thinking, content)
    text = client.generate(MODEL, "What is a token?", think=think, options=GREEDY)
    assert (text.thinking, text.response) == (thinking, content)
    plain = client.chat(MODEL, ask("What is a token?"), think=False, options=GREEDY)
    assert not plain.message.thinking


def test_leaving_closes_the_stream_and_nothing_else(client: ollama.Client):
    other = client.chat(MODEL, ask("Tell me a story about a robot."), stream=True)
    leaving = iter(client.generate(MODEL, "Tell me a very long story about a dragon.", stream=True))
    next(leaving)
    leaving.close()  # type: ignore[attr-defined]
    assert len(list(other)) > 5


# ── vectors and models ───────────────────────────────────────────────────────────────────────────


def test_vectors(client: ollama.Client):
    two = client.embed(MODEL, ["Why is the sky blue?", "Why is grass green?"])
    assert two.model == MODEL
    assert len(two.embeddings) == 2
    assert two.prompt_eval_count
    assert two.total_duration
    one = client.embed(MODEL, "Why is the sky blue?", dimensions=8)
    assert [len(vector) for vector in one.embeddings] == [8]
    old = client.embeddings(MODEL, "Why is the sky blue?").embedding
    assert old == pytest.approx(two.embeddings[0], abs=1e-4)
    assert client.embed(MODEL, "").embeddings == []
    assert client.embeddings(MODEL).embedding == []


def test_models_are_listed_and_shown(client: ollama.Client):
    models = {model.model: model for model in client.list().models}
    assert models[MODEL].size == DEMO.stat().st_size
    details = models[MODEL].details
    assert details is not None
    assert details.format == "gguf"
    assert len(models[MODEL].digest or "") == 64
    shown = client.show(MODEL)
    assert shown.template
    assert shown.modelinfo
    assert shown.modelinfo["general.architecture"]
    assert {"completion", "tools", "thinking"} <= set(shown.capabilities or ())
    assert client.show(MODEL + ":latest").modelinfo == shown.modelinfo


def test_a_model_is_pulled_asked_copied_and_deleted(client: ollama.Client, hub: Hub):
    parts = list(client.pull(HUB_NAME, stream=True))
    assert parts[0].status == "pulling manifest"
    assert parts[-1].status == "success"
    told = [part for part in parts if part.total]
    assert {part.total for part in told} == {DEMO.stat().st_size + 32}
    assert told[-1].completed == told[-1].total
    digest = sha256(hub.files["demo-Q8_0.gguf"]).hexdigest()
    assert {part.digest for part in told} == {f"sha256:{digest}"}
    assert client.generate(HUB_NAME, "Hello!", options=GREEDY).response
    assert client.pull(HUB_NAME).status == "success"
    assert client.copy(HUB_NAME, "mine").status == "success"
    assert client.show("mine").modelinfo
    assert client.chat("mine:latest", ask("Hello!")).message.content
    assert {HUB_NAME, "mine:latest"} <= {model.model for model in client.list().models}
    assert client.delete(HUB_NAME).status == "success"
    assert client.delete("mine").status == "success"
    with pytest.raises(ollama.ResponseError, match="not found") as caught:
        client.delete("mine")
    assert caught.value.status_code == 404


def test_a_model_is_made_of_another_and_of_an_upload(client: ollama.Client, tmp_path: Path):
    made = client.create(
        "pirate",
        from_=MODEL,
        system="You are a pirate.",
        parameters={"num_predict": 3, "stop": ["xyz"]},
        license="MIT",
        stream=True,
    )
    assert [part.status for part in made][-1] == "success"
    shown = client.show("pirate")
    assert shown.license == "MIT"
    assert "SYSTEM" in (shown.modelfile or "")
    assert shown.parameters is not None
    assert "num_predict" in shown.parameters
    assert client.generate("pirate", "Hello!").eval_count == 3
    path = tmp_path / "model.gguf"
    path.write_bytes(DEMO.read_bytes() + b"\0" * 7)
    digest = client.create_blob(path)
    assert digest == f"sha256:{sha256(path.read_bytes()).hexdigest()}"
    assert client.create("uploaded", files={"model.gguf": digest}).status == "success"
    assert client.generate("uploaded", "Hello!", options=GREEDY).response
    for name in ("pirate", "uploaded"):
        client.delete(name)


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stream", [True, False])
def test_an_unknown_model_is_not_found(client: ollama.Client, stream: bool):
    with pytest.raises(ollama.ResponseError, match="not found") as caught:
        list(client.generate("no-such-model", "Hi", stream=stream))  # type: ignore[call-overload]
    assert caught.value.status_code == 404


@pytest.mark.parametrize(
    ("more", "status", "word"),
    [
        ({"options": {"temperature": "warm"}}, 400, "options.temperature"),
        ({"options": {"mirostat": 2}}, 400, "options.mirostat"),
        ({"template": "{{ .Prompt }}"}, 400, "template"),
        ({"images": [b"\x89PNG\r\n\x1a\n and more"]}, 400, "images"),
        ({"think": "harder"}, 400, "think"),
    ],
)
def test_errors_name_the_field(client: ollama.Client, more: dict[str, Any], status: int, word: str):
    with pytest.raises(ollama.ResponseError, match=word) as caught:
        client.generate(MODEL, "Hi", **more)
    assert caught.value.status_code == status


def test_what_is_not_done_here_is_refused(client: ollama.Client):
    with pytest.raises(ollama.ResponseError, match="Ollama's library") as caught:
        list(client.pull("llama3.2", stream=True))
    assert caught.value.status_code == 400
    with pytest.raises(ollama.ResponseError, match="pushes no models"):
        client.push("me/mine")
    with pytest.raises(ollama.ResponseError, match="quantize"):
        client.create("small", from_=MODEL, quantize="q4_K_M")


def test_an_error_in_the_middle_reaches_the_client(tmp_path: Path):
    broken: list[bytes | float | str] = [SSE_HEAD, said("one "), said("two"), "reset"]
    upstream = Upstream([broken, [SSE_HEAD, END]])
    config = f'[bindings.up]\nengine = "openai"\nurl = "{upstream.url}"\nmodel = "scripted"\n'
    with serve(tmp_path, config) as serving, ollama.Client(host=serving.url) as client:
        text = ""
        with pytest.raises(ollama.ResponseError):
            for part in client.chat("scripted", ask("Hi"), stream=True):
                text += part.message.content or ""
        assert text == "one two"
        # A failed run is no 5xx, or a client with retries would run it again.
        with pytest.raises(ollama.ResponseError) as caught:
            client.generate("scripted", "Hi")
        assert caught.value.status_code == 424
    upstream.close()


def test_keys_are_taken_and_refused(tmp_path: Path):
    with serve(tmp_path, '[security]\nallowed_api_keys = ["sk-test"]\n') as serving:
        with (
            ollama.Client(host=serving.url) as client,
            pytest.raises(ollama.ResponseError) as caught,
        ):
            client.list()
        assert caught.value.status_code == 401
        for name, value in (("Authorization", "Bearer sk-test"), ("X-API-Key", "sk-test")):
            with ollama.Client(host=serving.url, headers={name: value}) as client:
                assert client.list().models


# ── asynchronous ─────────────────────────────────────────────────────────────────────────────────


async def test_the_asynchronous_client(server: Serving):
    async with ollama.AsyncClient(host=server.url) as client:
        stream = await client.chat(MODEL, ask("Hello!"), stream=True, options=GREEDY)
        text = "".join([part.message.content or "" async for part in stream])
        whole = await client.generate(MODEL, "Hello!", options=GREEDY)
        assert whole.response == text
        assert (await client.list()).models
        with pytest.raises(ollama.ResponseError) as caught:
            await client.show("no-such-model")
        assert caught.value.status_code == 404
