"""`OllamaClient` against a live gateway with the embedded engine."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.integration.serving import Serving, free_port, serve

from penstock.core.errors import (
    GatewayError,
    UnavailableError,
    UnknownModelError,
    UnsupportedParameterError,
)
from penstock.llm_client import LLMClient
from penstock.ollama_client import (
    Config,
    ModelInfo,
    ModelResponse,
    OllamaClient,
    OllamaConfig,
    StreamChunk,
)

MODEL = "penstock-demo"
GREEDY: dict[str, object] = {"temperature": 0, "seed": 1, "num_predict": 200}
ASKED = "What is streaming?"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serve(tmp_path_factory.mktemp("server"), "") as serving:
        yield serving


@pytest.fixture
def config(server: Serving) -> OllamaConfig:
    return OllamaConfig(url=f"{server.url}/api/generate", model_name=MODEL)


@pytest.fixture
def client(config: OllamaConfig) -> Iterator[OllamaClient]:
    with OllamaClient(config) as client:
        yield client


def text_of(chunks: Iterator[StreamChunk]) -> str:
    found = list(chunks)
    assert [chunk.error for chunk in found] == [None] * len(found)
    assert [chunk.done for chunk in found] == [False] * (len(found) - 1) + [True]
    return "".join(chunk.text for chunk in found)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


def test_three_ways_to_the_same_answer(client: OllamaClient):
    stream = client.generate_stream(ASKED, options=GREEDY)
    first = next(stream)
    assert (first.done, first.error) == (False, None)
    assert first.text
    text = first.text + text_of(stream)
    assert len(text) > 20
    assert client.generate(ASKED, stream=True, options=GREEDY) == ModelResponse(
        text, True, None, 200, True
    )
    assert client.generate(ASKED, MODEL, False, 60, GREEDY) == ModelResponse(text, True, None, 200)
    assert stream.text == text


def test_the_configuration_is_read_at_each_call(client: OllamaClient, config: OllamaConfig):
    config.temperature, config.num_predict = 0, 3
    short = client.generate(ASKED)
    config.num_predict = 12
    longer = client.generate(ASKED)
    assert longer.text.startswith(short.text)
    assert len(longer.text) > len(short.text)
    config.model_name = "nobody"
    assert client.generate(ASKED).status_code == 404


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_is_not_there(client: OllamaClient, stream: bool):
    told = client.generate(ASKED, "nobody", stream)
    assert (told.text, told.success, told.status_code, told.done) == ("", False, 404, True)
    (chunk,) = client.generate_stream(ASKED, "nobody")
    assert chunk == StreamChunk("", True, told.error)
    assert chunk.error is not None
    assert chunk.error.startswith("Model 'nobody' not found.")


def test_a_refusal_is_told_in_the_servers_words(client: OllamaClient):
    told = client.generate(ASKED, options={"temperature": "hot"})
    assert told.status_code == 400
    assert told.error is not None
    assert told.error.startswith("HTTP 400: options.temperature")


def test_what_there_is(client: OllamaClient):
    assert client.health_check()
    assert client.get_model_names() == [MODEL]
    assert client.model_exists(MODEL)
    assert not client.model_exists("penstock")
    (found,) = client.list_models()
    assert isinstance(found, ModelInfo)
    assert isinstance(found.size, int)
    assert found.modified
    good, said = client.test_connection()
    assert good
    assert said.startswith("[OK] Connected to Ollama")
    assert f"- {MODEL}" in said


def test_nobody_there():
    url = f"http://127.0.0.1:{free_port()}/api/generate"
    with OllamaClient(OllamaConfig(url=url)) as client:
        assert not client.health_check()
        assert client.list_models() == []
        good, said = client.test_connection()
        assert not good
        assert said.startswith("[!] ")
        told = client.generate("Hello", stream=True)
    assert (told.success, told.status_code) == (False, None)
    assert told.error is not None
    assert told.error.startswith("Cannot connect to Ollama. Is it running?")


def test_a_server_with_keys(tmp_path: Path):
    secret = "pk-0123456789abcdef0123456789abcdef"
    with serve(tmp_path, f'[security]\nallowed_api_keys = ["{secret}"]\n') as serving:
        config = OllamaConfig(url=f"{serving.url}/api/generate", model_name=MODEL)
        with OllamaClient(config) as client:
            assert client.generate("Hello").status_code == 401
            config.key = secret
            assert secret not in repr(config)
            stream = client.generate_stream("Hello")
            text = text_of(stream)
            assert stream.stream_id is not None
            assert text_of(client.open_stream(stream.stream_id)) == text
            config.key = "wrong"
            told = client.generate("Hello")
            assert told.status_code == 401
            assert "wrong" not in (told.error or "")


# ── many at once, and connections ────────────────────────────────────────────────────────────────


def test_streams_at_the_same_time(client: OllamaClient):
    alone = text_of(client.generate_stream(ASKED, options=GREEDY))
    one, two = (client.generate_stream(ASKED, options=GREEDY) for _ in range(2))
    texts = ["", ""]
    for first, second in zip(one, two, strict=True):
        texts[0] += first.text
        texts[1] += second.text
    assert texts == [alone, alone]
    with ThreadPoolExecutor(8) as threads:
        asked = [
            threads.submit(client.generate, ASKED, None, n % 2 == 0, None, GREEDY)
            for n in range(16)
        ]
        assert [answer.result().text for answer in asked] == [alone] * 16


def idle(client: OllamaClient) -> list[object]:
    return [link for links in client._session._idle.values() for _, link in links]


def test_a_connection_is_used_again(client: OllamaClient):
    client.generate("Hello", options=GREEDY)
    (kept,) = idle(client)
    for chunk in client.generate_stream("Hello", options=GREEDY):
        if chunk.done:
            break
    assert client.list_models()
    assert client.generate("Hello", "nobody").status_code == 404
    assert idle(client) == [kept]
    client.close()
    assert idle(client) == []
    assert client.generate("Hello", options=GREEDY).success


def test_a_context_manager_closes_its_connections(config: OllamaConfig):
    with OllamaClient(config) as client:
        assert client.generate("Hello", options=GREEDY).success
        assert len(idle(client)) == 1
    assert idle(client) == []


def test_leaving_the_loop_closes_the_connection(client: OllamaClient):
    for _ in client.generate_stream("Tell me a story."):
        break
    assert idle(client) == []
    assert not client._session._used


def test_nothing_is_sent_before_the_first_chunk_is_wanted(client: OllamaClient):
    stream = client.generate_stream("Hello")
    assert stream.stream_id is None
    stream.close()
    assert list(stream) == []


# ── seeking ──────────────────────────────────────────────────────────────────────────────────────


def test_back_and_forth(client: OllamaClient):
    stream = client.generate_stream(ASKED, options=GREEDY)
    first, second = next(stream).text, next(stream).text
    head = first + second
    assert stream.tell() == len(head)
    stream.seek(1)
    assert [next(stream).text for _ in range(2)] == [first[1:], second]
    stream.seek(0)
    text = text_of(stream)
    assert text.startswith(head)
    assert list(stream) == []
    stream.seek(len(text) - 3)
    assert text_of(stream) == text[-3:]
    stream.seek(len(text) + 5)
    assert list(stream) == [StreamChunk("", True)]
    ahead = client.generate_stream(ASKED, options=GREEDY)
    ahead.seek(17)
    assert text_of(ahead) == text[17:]
    assert ahead.text == text
    with pytest.raises(ValueError, match="position"):
        ahead.seek(-1)


def test_a_stream_on_record(client: OllamaClient):
    stream = client.generate_stream(ASKED, options=GREEDY)
    text = text_of(stream)
    assert stream.stream_id is not None
    found = client.open_stream(stream.stream_id)
    assert text_of(found) == text
    assert text_of(client.open_stream(stream.stream_id, position=11)) == text[11:]
    found.seek(4)
    assert text_of(found) == text[4:]
    (chunk,) = client.open_stream("0" * 32)
    assert chunk.done
    assert "not found" in (chunk.error or "")


def test_a_stream_is_watched_while_it_runs(client: OllamaClient):
    stream = client.generate_stream(ASKED, options=GREEDY)
    first = next(stream)
    assert stream.stream_id is not None
    watched = text_of(client.open_stream(stream.stream_id))
    assert first.text + text_of(stream) == watched


# ── strings ──────────────────────────────────────────────────────────────────────────────────────


def test_a_chat_as_strings(config: OllamaConfig, client: OllamaClient):
    llm = LLMClient(config)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASKED}]
    pieces = list(llm.generate_stream(messages, 0, 1.0, 40))
    assert len(pieces) > 3
    assert all(isinstance(piece, str) and piece for piece in pieces)
    assert llm.generate(messages, temperature=0, top_p=1.0, max_tokens=40) == "".join(pieces)
    named = llm.generate_stream(
        messages=messages,
        temperature=0,
        top_p=1.0,
        max_tokens=40,
        model="default",
        tools=None,
        tool_choice="auto",
    )
    assert "".join(named) == "".join(pieces)
    with pytest.raises(UnsupportedParameterError, match="tools: "):
        llm.generate_stream(messages, tools=[{"type": "function", "function": {"name": "f"}}])
    with pytest.raises(UnknownModelError, match="'nobody' not found"):
        llm.generate(messages, model="nobody")
    with pytest.raises(GatewayError, match="role"):
        list(llm.generate_stream([{"role": "nobody", "content": ""}]))
    llm.close()


def test_a_chat_from_many_threads(config: OllamaConfig):
    llm = LLMClient(config)
    gate = threading.Barrier(6)

    def ask(_: int) -> str:
        gate.wait()
        return llm.generate([{"role": "user", "content": ASKED}], 0, None, 30)

    with ThreadPoolExecutor(6) as threads:
        assert len(set(threads.map(ask, range(6)))) == 1


def test_strings_of_a_server_that_is_not_there():
    config = Config(OllamaConfig(url=f"http://127.0.0.1:{free_port()}/api/generate"))
    with pytest.raises(UnavailableError, match="Cannot connect"):
        LLMClient(config.ollama).generate([{"role": "user", "content": "Hello"}])
