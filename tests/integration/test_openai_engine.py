"""The `openai` engine against llama.cpp's own HTTP server and a real model."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

import penstock
from penstock.core.errors import (
    BindingDownError,
    EngineRefusedError,
    GatewayError,
    InvalidRequestError,
    ModalityError,
    UnsupportedParameterError,
)
from penstock.core.events import Done, Entry, Finish, ReasoningDelta, Seq, TextDelta, Usage
from penstock.core.folding import Reply, fold
from penstock.core.messages import Message, TextPart, ToolCall, say
from penstock.core.ports import Timeouts
from penstock.core.queries import EmbedAsk, TokensAsk
from penstock.core.request import ReplyFormat, Request, Sampling, ToolSpec
from penstock.core.secrets import Secret
from penstock.engines.openai import Config, Engine
from penstock.testing.engines import EngineContract, Subject, play, said
from penstock.wire import json

MODEL = Path(penstock.__file__).parent / "models" / "penstock-demo.gguf"
KEY = "sk-integration"
GREEDY = Sampling(temperature=0.0, seed=1, max_tokens=60)
WEATHER = ToolSpec(
    name="get_weather",
    description="Get the weather in a city",
    parameters=json.raw(
        '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'
    ),
)
PERSON = json.raw(
    '{"type":"object","properties":{"name":{"type":"string","maxLength":12},'
    '"age":{"type":"integer","maximum":99}},"required":["name","age"]}'
)


@contextmanager
def serving(*more: str) -> Iterator[str]:
    program = [sys.executable, str(Path(__file__).parent / "llama_server.py"), str(MODEL), KEY]
    with subprocess.Popen(
        [*program, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        try:
            address = server.stdout.readline().decode().strip()
            assert address, "the server did not start"
            yield address
        finally:
            server.stdin.close()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture(scope="module")
def embedding_url() -> Iterator[str]:
    with serving("embedding") as address:
        yield address


@pytest.fixture
async def engine(url: str) -> AsyncIterator[Engine]:
    engine = Engine(Config(url=url, key=Secret(KEY)), Timeouts())
    yield engine
    await engine.aclose()


async def reply(engine: Engine, request: Request) -> Reply:
    events = said(await play(engine, request))
    return fold([Entry(Seq(n + 1), 0, event) for n, event in enumerate(events)])


def asking(text: str, **more: object) -> Request:
    return Request(messages=(say("user", text),), sampling=GREEDY, **more)  # type: ignore[arg-type]


async def test_text_and_usage(engine: Engine) -> None:
    batches = await play(engine, asking("Tell me a story about a dragon"))
    assert batches[0] == ()
    events = said(batches)
    assert sum(isinstance(event, TextDelta) for event in events) > 10
    assert isinstance(events[-1], Done)
    usage = events[-2]
    assert isinstance(usage, Usage)
    assert usage.timings is not None
    assert usage.input_tokens > 0
    assert usage.output_tokens > 10
    assert usage.timings.generation > 0


async def test_a_limit(engine: Engine) -> None:
    request = Request(
        messages=(say("user", "Tell me a story about a dragon"),),
        sampling=Sampling(max_tokens=5, temperature=0),
    )
    found = await reply(engine, request)
    assert found.first.reason == "length"
    assert found.usage is not None
    assert found.usage.output_tokens == 5


async def test_a_tool_call_and_its_result(engine: Engine) -> None:
    question = say("user", "What is the weather in Paris?")
    request = Request(messages=(question,), tools=(WEATHER,), sampling=GREEDY)
    found = (await reply(engine, request)).first
    assert found.reason == "tool_calls"
    (call,) = found.tool_calls
    assert call.name == "get_weather"
    assert json.decode(call.arguments, dict[str, str], GatewayError) == {"city": "Paris"}
    told = Message(
        role="tool", parts=(TextPart('{"weather": "sunny", "degrees": 21}'),), tool_call_id=call.id
    )
    called = Message(role="assistant", tool_calls=(ToolCall(**_fields(call)),))
    after = Request(messages=(question, called, told), tools=(WEATHER,), sampling=GREEDY)
    assert (await reply(engine, after)).first.text


def _fields(call: ToolCall) -> dict[str, str]:
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


async def test_json_that_obeys_a_schema(engine: Engine) -> None:
    wanted = ReplyFormat(kind="json_schema", schema=PERSON)
    found = (await reply(engine, asking("Describe a person as JSON", reply_format=wanted))).first
    person = json.decode(found.text, dict[str, object], GatewayError)
    assert isinstance(person["name"], str)
    assert isinstance(person["age"], int)


async def test_reasoning(engine: Engine) -> None:
    events = said(await play(engine, asking("What is a token? /think", effort="low")))
    kinds = [type(event) for event in events]
    assert kinds[0] is ReasoningDelta
    assert kinds.index(TextDelta) > kinds.index(ReasoningDelta)


async def test_two_answers(engine: Engine) -> None:
    events = said(await play(engine, asking("Say hello", choices=2)))
    assert sum(isinstance(event, Finish) for event in events) == 2
    found = fold([Entry(Seq(n + 1), 0, event) for n, event in enumerate(events)])
    assert [choice.reason for choice in found.choices] == ["stop", "stop"]
    assert all(choice.text for choice in found.choices)


async def test_log_probabilities(engine: Engine) -> None:
    sampling = Sampling(max_tokens=4, temperature=0, logprobs=True, top_logprobs=2)
    request = Request(messages=(say("user", "Say hello"),), sampling=sampling)
    found = (await reply(engine, request)).first
    tokens = [
        token
        for array in found.logprobs
        for token in json.decode(bytes(array), list[dict[str, object]], GatewayError)
    ]
    assert "".join(str(token["token"]) for token in tokens) == found.text


async def test_extra_parameters_are_taken(url: str) -> None:
    config = Config(url=url, key=Secret(KEY), extra_parameters=("top_k", "min_p", "repeat_penalty"))
    engine = Engine(config, Timeouts())
    sampling = Sampling(max_tokens=4, top_k=1, min_p=0.1, repeat_penalty=1.1)
    request = Request(messages=(say("user", "Say hello"),), sampling=sampling)
    assert (await reply(engine, request)).first.text
    await engine.aclose()


async def test_models(engine: Engine) -> None:
    await engine.start()
    (card,) = await engine.models()
    assert card.name == "penstock-demo"
    assert card.context_size == 1024
    assert card.size


async def test_cancelling_stops_the_work_upstream(engine: Engine, url: str) -> None:
    sampling = Sampling(temperature=1.0, max_tokens=900)
    request = Request(messages=(say("user", "Tell me a very long story"),), sampling=sampling)
    stream = engine.stream(request)
    async for batch in stream:
        if batch:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.timeout(10):
        busy = True
        while busy:
            async with session.get(f"{url}/slots") as answer:
                slots = json.decode(await answer.read(), list[dict[str, object]], GatewayError)
            busy = any(slot["is_processing"] for slot in slots)


async def test_a_wrong_key(url: str) -> None:
    engine = Engine(Config(url=url, key=Secret("sk-wrong-key")), Timeouts())
    with pytest.raises(EngineRefusedError) as caught:
        await play(engine, asking("Hi"))
    assert "sk-wrong-key" not in str(caught.value)
    await engine.aclose()


async def test_a_request_that_the_server_refuses(engine: Engine) -> None:
    wanted = ReplyFormat(kind="json_schema", schema=json.raw('{"type":"nonsense"}'))
    with pytest.raises(InvalidRequestError, match="the upstream refused"):
        await play(engine, asking("Hi", reply_format=wanted))


async def test_nobody_at_that_port() -> None:
    engine = Engine(Config(url="http://127.0.0.1:9"), Timeouts())
    with pytest.raises(BindingDownError):
        await engine.start()
    await engine.aclose()


class TestContract(EngineContract):
    @pytest.fixture
    def subject(self, url: str) -> Subject:
        return Subject(
            make=lambda: Engine(Config(url=url, key=Secret(KEY)), Timeouts()),
            broken=lambda: Engine(Config(url=url, key=Secret("no")), Timeouts()),
            request=asking("Tell me a story about a dragon"),
        )


# ── raw texts, tokens, vectors ───────────────────────────────────────────────────────────────────

WRITTEN = "<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n"


async def folded(engine: Engine, request: Request) -> Reply:
    events = said(await play(engine, request))
    return fold([Entry(Seq(n), 0, event) for n, event in enumerate(events, 1)])


async def test_a_raw_text_is_continued_as_it_is(engine: Engine) -> None:
    asked = Request(messages=(say("user", "Who are you?"),), sampling=GREEDY)
    known = await folded(engine, asked)
    found = await folded(
        engine, Request(messages=(say("user", WRITTEN),), sampling=GREEDY, raw=True)
    )
    assert found.first.text == known.first.text != ""
    assert found.first.reason == "stop"
    assert found.usage is not None
    assert known.usage is not None
    assert found.usage.input_tokens == known.usage.input_tokens


async def test_raw_logprobs_stops_and_limits(engine: Engine) -> None:
    sampling = Sampling(temperature=0, max_tokens=4, logprobs=True, top_logprobs=2)
    asked = Request(messages=(say("user", WRITTEN),), sampling=sampling, raw=True)
    found = await folded(engine, asked)
    tokens = [
        token
        for array in found.first.logprobs
        for token in json.decode(bytes(array), list[dict[str, object]], InvalidRequestError)
    ]
    assert "".join(str(token["token"]) for token in tokens) == found.first.text
    assert found.first.reason == "length"
    assert found.usage is not None
    assert found.usage.output_tokens == 4


async def test_no_thinking_is_said_to_the_template(url: str) -> None:
    config = Config(url=url, key=Secret(KEY), effort_field="chat_template_kwargs")
    engine = Engine(config, Timeouts())
    question = Request(messages=(say("user", "How many is 2 and 3? /think"),), sampling=GREEDY)
    try:
        thinking = await folded(engine, question)
        off = await folded(engine, replace(question, effort="none"))
    finally:
        await engine.aclose()
    assert thinking.first.reasoning
    assert not off.first.reasoning


@pytest.mark.parametrize("text", ["", "Hello wörld", "日本語 🎉"])
async def test_tokens_come_back_as_the_text(engine: Engine, text: str) -> None:
    tokens = tuple(await engine.tokenize(TokensAsk(text=text)))
    assert bool(tokens) == bool(text)
    assert await engine.detokenize(TokensAsk(tokens=tokens)) == text


@pytest.mark.parametrize("token", [-1, 100_000])
async def test_an_id_that_there_is_not(engine: Engine, token: int) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await engine.detokenize(TokensAsk(tokens=(token,)))
    assert caught.value.param == "tokens"


async def test_an_end_of_text_can_not_be_added(engine: Engine) -> None:
    with pytest.raises(UnsupportedParameterError) as caught:
        await engine.tokenize(TokensAsk(text="x", add_eos=True))
    assert caught.value.param == "add_eos"


async def test_vectors(embedding_url: str) -> None:
    engine = Engine(Config(url=embedding_url, key=Secret(KEY)), Timeouts())
    try:
        found = await engine.embed(EmbedAsk(texts=("a cat", "a dog")))
        assert [len(vector) for vector in found.vectors] == [256, 256]
        assert found.input_tokens > 1
        assert (await engine.embed(EmbedAsk())).vectors == ()
        with pytest.raises(InvalidRequestError) as caught:
            await engine.embed(EmbedAsk(texts=("",), param="prompt"))
        assert caught.value.param == "prompt"
    finally:
        await engine.aclose()


async def test_a_server_that_makes_no_vectors(engine: Engine) -> None:
    with pytest.raises(ModalityError):
        await engine.embed(EmbedAsk(texts=("x",)))
