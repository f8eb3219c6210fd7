"""The embedded engine on the demo model that ships: nothing here is scripted."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import cast
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import msgspec
import pytest

from penstock.core import events as ev
from penstock.core import ports
from penstock.core.errors import (
    ConfigError,
    EngineTimeoutError,
    GatewayError,
    InvalidRequestError,
    OverloadedError,
    UnavailableError,
    UnknownModelError,
)
from penstock.core.folding import ChoiceReply, Reply, fold
from penstock.core.messages import Message, TextPart, ToolCall, say
from penstock.core.ports import Timeouts
from penstock.core.request import (
    Effort,
    ReplyFormat,
    Request,
    Sampling,
    ToolChoice,
    ToolSpec,
)
from penstock.engines._llama_server import LlamaServer
from penstock.engines._llama_shelf import Model
from penstock.engines.llamacpp import Config, Engine
from penstock.wire import json

DEMO = Path(__file__).parents[2] / "src" / "penstock" / "models" / "penstock-demo.gguf"
GREEDY = Sampling(temperature=0, seed=1)
# The demo model's ends of text: without them it goes on until its context is full.
ENDLESS = Sampling(temperature=1, seed=3, logit_bias={"0": -100, "1": -100, "2": -100})
WEATHER = ToolSpec(
    name="get_weather",
    description="Get the weather in a city",
    parameters=json.raw(
        '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'
    ),
)


def ask(text: str, sampling: Sampling = GREEDY) -> Request:
    return Request(messages=(say("user", text),), sampling=sampling)


LONG = ask("Tell me a very long story about a dragon", ENDLESS)
SHORT = ask("Hello!", Sampling(temperature=0, max_tokens=1))


@asynccontextmanager
async def running(
    config: Config | None = None, timeouts: Timeouts | None = None
) -> AsyncIterator[Engine]:
    engine = Engine(config or Config(), timeouts or Timeouts())
    try:
        await engine.start()
        yield engine
    finally:
        await engine.aclose()


def opened(engine: Engine, request: Request) -> AsyncGenerator[Sequence[ev.Event]]:
    return cast("AsyncGenerator[Sequence[ev.Event]]", engine.stream(request))


async def batches(engine: Engine, request: Request) -> list[Sequence[ev.Event]]:
    async with aclosing(opened(engine, request)) as stream:
        return [batch async for batch in stream]


async def events(engine: Engine, request: Request) -> list[ev.Event]:
    return [event for batch in await batches(engine, request) for event in batch]


async def reply(engine: Engine, request: Request) -> Reply:
    found = await events(engine, request)
    return fold([ev.Entry(ev.Seq(n), 0, event) for n, event in enumerate(found, 1)])


async def answer(engine: Engine, request: Request) -> ChoiceReply:
    return (await reply(engine, request)).first


async def first_delta(stream: AsyncGenerator[Sequence[ev.Event]]) -> None:
    async for batch in stream:
        if any(isinstance(event, ev.TextDelta) for event in batch):
            return


def model(engine: Engine, name: str = "penstock-demo") -> Model:
    assert engine._shelf is not None
    return engine._shelf.models[name]


def server(engine: Engine) -> LlamaServer:
    found = model(engine).server
    assert found is not None
    return found


def decoded(engine: Engine) -> int:
    found = re.search(r"^llamacpp:n_decode_total (\d+)", server(engine).metrics(), re.MULTILINE)
    assert found is not None
    return int(found[1])


async def idle(engine: Engine) -> None:
    async with asyncio.timeout(10):
        while not model(engine).slots.idle:
            await asyncio.sleep(0.001)


# ── what it says ─────────────────────────────────────────────────────────────────────────────────


def test_it_is_an_engine() -> None:
    engine: ports.Engine = Engine(Config(), Timeouts())
    assert engine.outputs == ("text",)


async def test_text_comes_token_by_token() -> None:
    async with running() as engine:
        found = await batches(engine, ask("What is the GIL?"))
    assert found[0] == []  # accepted, before the first token
    assert all(found[1:])
    deltas = [event for batch in found for event in batch if isinstance(event, ev.TextDelta)]
    assert len(deltas) > 30
    assert "".join(delta.text for delta in deltas).startswith("The GIL, or global interpreter")
    assert {(delta.part, delta.choice) for delta in deltas} == {(deltas[0].part, 0)}
    usage, done = found[-1][-2:]
    assert done == ev.Done(reason="stop")
    assert isinstance(usage, ev.Usage)
    assert 5 < usage.input_tokens < 40
    assert abs(usage.output_tokens - len(deltas)) < 5
    assert usage.timings is not None
    assert usage.timings.prompt > 1000
    assert usage.timings.generation > 1000


async def test_temperature_zero_and_a_seed_say_the_same_twice() -> None:
    async with running() as engine:
        first, second = [await answer(engine, ask("Tell me a story")) for _ in range(2)]
        assert first.text == second.text
        warm = Sampling(temperature=1.2, seed=11, max_tokens=40)
        other = msgspec.structs.replace(warm, seed=12)
        texts = [
            (await answer(engine, ask("Tell me a story", how))).text for how in (warm, warm, other)
        ]
    assert texts[0] == texts[1] != texts[2]


async def test_max_tokens_ends_with_length() -> None:
    async with running() as engine:
        found = await reply(engine, ask("Tell me a story", Sampling(max_tokens=5, seed=1)))
    assert found.first.reason == "length"
    assert found.usage is not None
    assert found.usage.output_tokens == 5


async def test_stop_strings() -> None:
    async with running() as engine:
        found = await answer(engine, ask("Hello!", Sampling(temperature=0, stop=("do for",))))
    assert found.text == "Hi! What can I "
    assert found.reason == "stop"


async def test_a_full_context_ends_with_length() -> None:
    async with running() as engine:
        found = await reply(engine, LONG)
    assert found.first.reason == "length"
    assert found.usage is not None
    assert found.usage.input_tokens + found.usage.output_tokens == 1024


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_k", 1),
        ("top_p", 0.01),
        ("min_p", 0.99),
        ("logit_bias", {"2504": -100.0}),
    ],
)
async def test_sampling_is_honoured(name: str, value: object) -> None:
    """What leaves only the likeliest token gives the text of temperature 0; a bias changes it."""
    wild = msgspec.structs.replace(Sampling(temperature=1.5, seed=5, max_tokens=30))
    async with running() as engine:
        greedy = msgspec.structs.replace(GREEDY, max_tokens=30)
        likeliest = (await answer(engine, ask("hi there", greedy))).text
        free = (await answer(engine, ask("hi there", wild))).text
        if name == "logit_bias":
            token = await likeliest_token(engine)
            bias = msgspec.structs.replace(greedy, logit_bias={str(token): -100.0})
            assert (await answer(engine, ask("hi there", bias))).text[0:2] != likeliest[0:2]
            return
        bound = msgspec.structs.replace(wild, **{name: value})
        assert (await answer(engine, ask("hi there", bound))).text == likeliest != free


async def likeliest_token(engine: Engine) -> int:
    how = Sampling(temperature=0, max_tokens=1, logprobs=True, top_logprobs=3)
    found = (await answer(engine, ask("hi there", how))).logprobs
    tokens = json.decode(bytes(found[0]), list[dict[str, object]], InvalidRequestError)
    assert isinstance(tokens[0]["top_logprobs"], list)
    assert len(tokens[0]["top_logprobs"]) == 3
    return int(str(tokens[0]["id"]))


@pytest.mark.parametrize(
    "penalty",
    [
        Sampling(repeat_penalty=1.8, repeat_last_n=64),
        Sampling(presence_penalty=2.0),
        Sampling(frequency_penalty=2.0),
    ],
)
async def test_penalties_are_honoured(penalty: Sampling) -> None:
    question = "Count from 1 to 20."
    async with running() as engine:
        plain = await answer(engine, ask(question, Sampling(temperature=0, max_tokens=80)))
        how = msgspec.structs.replace(penalty, temperature=0.0, max_tokens=80)
        assert (await answer(engine, ask(question, how))).text != plain.text
        short = msgspec.structs.replace(how, repeat_last_n=0)
        assert (await answer(engine, ask(question, short))).text == plain.text


async def test_logprobs_come_with_their_text() -> None:
    async with running() as engine:
        found = await events(engine, ask("Hello!", Sampling(max_tokens=3, logprobs=True)))
    deltas = [event for event in found if isinstance(event, ev.TextDelta)]
    assert deltas
    for delta in deltas:
        assert isinstance(delta.logprobs, msgspec.Raw)
        told = json.decode(bytes(delta.logprobs), list[dict[str, object]], InvalidRequestError)
        assert "".join(str(token["token"]) for token in told) == delta.text


@pytest.mark.parametrize(
    ("effort", "thinks"),
    [(None, False), ("none", False), ("low", True), ("medium", True), ("high", True)],
)
async def test_effort(effort: Effort | None, thinks: bool) -> None:
    question = msgspec.structs.replace(ask("What is the capital of France?"), effort=effort)
    async with running() as engine:
        found = await answer(engine, question)
    assert bool(found.reasoning) is thinks
    assert found.text.strip() == "The capital of France is Paris."


async def test_effort_none_overrules_the_prompt() -> None:
    question = ask("What is the capital of France? /think")
    async with running() as engine:
        assert (await answer(engine, question)).reasoning
        assert not (
            await answer(engine, msgspec.structs.replace(question, effort="none"))
        ).reasoning


async def test_a_tool_is_called_and_its_result_is_used() -> None:
    question = say("user", "What is the weather in Paris?")
    async with running() as engine:
        found = await events(
            engine, Request(messages=(question,), tools=(WEATHER,), sampling=GREEDY)
        )
        pieces = [event for event in found if isinstance(event, ev.ToolCallDelta)]
        assert len(pieces) > 3  # streamed, not in one piece
        assert pieces[0].name == "get_weather"
        assert pieces[0].call
        assert json.decode("".join(p.arguments for p in pieces), object, GatewayError) == {
            "city": "Paris"
        }
        assert found[-1] == ev.Done(reason="tool_calls")

        call = ToolCall(id=pieces[0].call, name="get_weather", arguments='{"city": "Paris"}')
        result = Message(
            role="tool", parts=(TextPart("18 degrees and cloudy"),), tool_call_id=call.id
        )
        turn = (question, Message(role="assistant", tool_calls=(call,)), result)
        told = await reply(engine, Request(messages=turn, tools=(WEATHER,), sampling=GREEDY))
    assert told.first.reason == "stop"
    assert told.first.text
    assert not told.first.tool_calls


async def test_the_choice_of_a_tool_is_obeyed() -> None:
    search = ToolSpec(name="web_search", description="Search", parameters=WEATHER.parameters)
    question = Request(
        messages=(say("user", "What is the weather in Paris?"),),
        tools=(WEATHER, search),
        sampling=GREEDY,
    )
    async with running() as engine:
        picked = msgspec.structs.replace(question, tool_choice=ToolChoice(name="web_search"))
        assert [call.name for call in (await answer(engine, picked)).tool_calls] == ["web_search"]
        none = msgspec.structs.replace(question, tool_choice=ToolChoice(mode="none"))
        found = await answer(engine, none)
        assert not found.tool_calls
        assert "<tool_call>" not in found.text
        single = msgspec.structs.replace(question, parallel_tool_calls=False)
        assert len((await answer(engine, single)).tool_calls) == 1


async def test_a_schema_is_obeyed() -> None:
    class Person(msgspec.Struct):
        name: str
        age: int
        code: str

    schema = json.raw(
        '{"type":"object","properties":{"name":{"type":"string","maxLength":9},"age":{"type":'
        r'"integer","minimum":1,"maximum":99},"code":{"type":"string","pattern":"^\\d{4}$"}},'
        '"required":["name","age","code"],"additionalProperties":false}'
    )
    wanted = ReplyFormat(kind="json_schema", name="person", schema=schema)
    question = msgspec.structs.replace(ask("Who are you?"), reply_format=wanted)
    async with running() as engine:
        found = await answer(engine, question)
    person = json.decode(found.text, Person, GatewayError)
    assert 1 <= person.age <= 99
    assert re.fullmatch("[0-9]{4}", person.code)


async def test_any_json_object() -> None:
    question = ask("Give me a JSON object with a name.", Sampling(temperature=0, max_tokens=200))
    wanted = msgspec.structs.replace(question, reply_format=ReplyFormat(kind="json_object"))
    async with running() as engine:
        found = await answer(engine, wanted)
    assert found.text.lstrip().startswith("{")
    if found.reason == "stop":
        json.decode(found.text, dict[str, object], GatewayError)


async def test_a_second_turn_is_read_from_the_cache() -> None:
    async with running(Config(parallel=1)) as engine:
        await answer(engine, ask("What is the GIL?"))
        usage = (await reply(engine, ask("What is the GIL?"))).usage
    assert usage is not None
    assert usage.cached_tokens is not None
    assert usage.cached_tokens > 5


# ── what it refuses ──────────────────────────────────────────────────────────────────────────────


async def refused(engine: Engine, request: Request) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await events(engine, request)
    assert await answer(engine, SHORT)  # and goes on
    return caught.value


async def test_a_prompt_that_is_too_long() -> None:
    async with running() as engine:
        error = await refused(engine, ask("Hello! " * 3000))
    assert isinstance(error, InvalidRequestError)
    assert error.param == "messages"
    assert "1024" in error.message


async def test_a_broken_schema() -> None:
    broken = json.raw('{"type":"bogus"}')
    async with running() as engine:
        wanted = ReplyFormat(kind="json_schema", schema=broken)
        error = await refused(engine, msgspec.structs.replace(ask("Hello!"), reply_format=wanted))
        assert isinstance(error, InvalidRequestError)
        assert error.param == "response_format"
        assert "bogus" in error.message
        tool = msgspec.structs.replace(WEATHER, parameters=broken)
        error = await refused(engine, msgspec.structs.replace(ask("Hello!"), tools=(tool,)))
        assert isinstance(error, InvalidRequestError)
        assert error.param == "tools"


async def test_an_unknown_model() -> None:
    async with running() as engine:
        error = await refused(engine, msgspec.structs.replace(SHORT, model="gpt-9"))
        assert isinstance(error, UnknownModelError)
        for name in ("penstock-demo", "penstock-demo.gguf", "Penstock demo", ""):
            assert (await answer(engine, msgspec.structs.replace(SHORT, model=name))).text


async def test_silence_is_told() -> None:
    async with running(timeouts=Timeouts(first_token=1e-9)) as engine:
        with pytest.raises(EngineTimeoutError):
            await events(engine, LONG)
        await idle(engine)


async def test_before_its_start_and_after_its_end() -> None:
    engine = Engine(Config(), Timeouts())
    with pytest.raises(UnavailableError):
        await events(engine, SHORT)
    await engine.aclose()
    async with running() as other:
        pass
    with pytest.raises(UnavailableError):
        await events(other, SHORT)


# ── files ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["missing", "empty", "junk", "header", "tensors", "folder"])
async def test_bad_files_are_told_apart(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.gguf"
    whole = DEMO.read_bytes()
    content = {"empty": b"", "junk": b"junk" * 100, "header": whole[:300], "tensors": whole[:-9]}
    words = {
        "missing": "no file",
        "empty": "empty",
        "junk": "no GGUF",
        "header": "within its header",
        "tensors": "its tensors need",
        "folder": "no GGUF file in the folder",
    }
    if kind == "folder":
        path = tmp_path
    elif kind != "missing":
        path.write_bytes(content[kind])
    engine = Engine(Config(path=str(path)), Timeouts())
    with pytest.raises(ConfigError, match=words[kind]) as caught:
        await engine.start()
    assert caught.value.param == "path"
    await engine.aclose()


async def test_a_whole_file_that_llama_cpp_does_not_take(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(DEMO.read_bytes().replace(b"llama", b"lLaMa"))
    engine = Engine(Config(path=str(path)), Timeouts())
    with pytest.raises(ConfigError, match="can't load m.gguf") as caught:
        await engine.start()
    assert caught.value.param == "path"
    await engine.aclose()


async def test_a_folder_of_models(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        shutil.copy(DEMO, tmp_path / f"{name}.gguf")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    config = Config(path=str(tmp_path), model="b", max_loaded=2, load="first_use")
    async with running(config) as engine:
        cards = await engine.models()
        assert [card.name for card in cards] == ["a", "b", "c"]

        def loaded() -> set[str]:
            return {card.name for card in cards if model(engine, card.name).server is not None}

        assert loaded() == set()
        await answer(engine, SHORT)
        assert loaded() == {"b"}
        await answer(engine, msgspec.structs.replace(SHORT, model="a"))
        await answer(engine, SHORT)
        await idle_all(engine, "abc")
        await answer(engine, msgspec.structs.replace(SHORT, model="c"))
        assert loaded() == {"b", "c"}  # `a` was unused for longest


async def idle_all(engine: Engine, names: str) -> None:
    while not all(model(engine, name).slots.idle for name in names):
        await asyncio.sleep(0.001)


async def test_a_busy_model_is_never_unloaded(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copy(DEMO, tmp_path / f"{name}.gguf")
    async with (
        running(Config(path=str(tmp_path))) as engine,
        aclosing(opened(engine, LONG)) as busy,
        aclosing(opened(engine, msgspec.structs.replace(SHORT, model="b"))) as other,
    ):
        await first_delta(busy)
        assert await anext(other) == [ev.Progress(what="queued", text="b")]
        assert model(engine, "a").server is not None
        await busy.aclose()
        assert [event async for batch in other for event in batch][-1] == ev.Done(reason="length")
        assert model(engine, "a").server is None


async def test_an_unknown_default(tmp_path: Path) -> None:
    engine = Engine(Config(model="gpt-9"), Timeouts())
    with pytest.raises(ConfigError, match="there are: penstock-demo") as caught:
        await engine.start()
    assert caught.value.param == "model"
    await engine.aclose()


# ── many at a time ───────────────────────────────────────────────────────────────────────────────


async def test_runs_decode_side_by_side() -> None:
    order: list[int] = []

    async def one(n: int) -> None:
        async with aclosing(opened(engine, LONG)) as stream:
            async for _ in stream:
                order.append(n)

    async with running(Config(parallel=4)) as engine, asyncio.TaskGroup() as group:
        for n in range(4):
            group.create_task(one(n))
    first, last = ({n: where(order, n) for n in range(4)} for where in (_first, _last))
    assert max(first.values()) < min(last.values())


def _first(order: list[int], n: int) -> int:
    return order.index(n)


def _last(order: list[int], n: int) -> int:
    return len(order) - 1 - order[::-1].index(n)


async def test_who_waits_is_told_the_place() -> None:
    async with running(Config(parallel=1, max_queue=2)) as engine:
        async with aclosing(opened(engine, LONG)) as busy:
            await first_delta(busy)
            second, third = opened(engine, SHORT), opened(engine, SHORT)
            assert await anext(second) == [ev.Progress(what="queued", at=1, of=1)]
            assert await anext(third) == [ev.Progress(what="queued", at=2, of=2)]
            with pytest.raises(OverloadedError) as caught:
                await events(engine, SHORT)
            assert caught.value.retry_after
            await second.aclose()  # cancelled while it waits
            assert await anext(third) == [ev.Progress(what="queued", at=1, of=1)]
        rest = [event async for batch in third for event in batch]
    assert rest[-1] == ev.Done(reason="length")
    assert not any(isinstance(event, ev.Progress) for event in rest)


async def test_cancelling_really_stops_the_decoding() -> None:
    async with running(Config(parallel=1)) as engine:
        stream = opened(engine, LONG)
        await first_delta(stream)
        await stream.aclose()
        await idle(engine)
        stopped_at = decoded(engine)
        assert stopped_at < 900
        await answer(engine, SHORT)  # the only slot takes the next one
        assert decoded(engine) - stopped_at < 50


async def test_cancelling_the_task_is_cancelling_the_run() -> None:
    begun = asyncio.Event()

    async def drive() -> None:
        async with aclosing(opened(engine, LONG)) as stream:
            async for batch in stream:
                if batch:
                    begun.set()

    async with running(Config(parallel=1)) as engine:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(drive())
            await begun.wait()
            task.cancel()
        await idle(engine)
        assert decoded(engine) < 900


async def test_cancelling_within_the_prompt() -> None:
    async with running(Config(parallel=1)) as engine:
        stream = opened(engine, ask("Tell me about streaming. " * 150))
        assert await anext(stream) == []  # accepted; not one token yet
        await stream.aclose()
        await idle(engine)
        assert (await answer(engine, SHORT)).reason == "length"
        said = re.search(
            r"^llamacpp:tokens_predicted_total (\d+)", server(engine).metrics(), re.MULTILINE
        )
        assert said is not None
        assert int(said[1]) <= 3


async def test_closing_the_engine_ends_what_runs_and_what_waits() -> None:
    async with running(Config(parallel=1)) as engine:
        busy, waiting = opened(engine, LONG), opened(engine, SHORT)
        await first_delta(busy)
        await anext(waiting)
        async with asyncio.TaskGroup() as group:
            group.create_task(engine.aclose())
            for stream in (busy, waiting):
                with pytest.raises(UnavailableError):
                    async for _ in stream:
                        pass


# ── its doors and its voice ──────────────────────────────────────────────────────────────────────


def listening() -> set[int]:
    """The ports on which this very process listens (Linux)."""
    mine = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _there(fd)}
    found: set[int] = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in mine:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def _there(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux' table of sockets")
async def test_its_port_is_closed_to_strangers() -> None:
    before = listening()
    async with running() as engine:
        address = urlsplit(server(engine).address)
        assert address.hostname == "127.0.0.1"
        assert listening() - before == {address.port}
        paths = ("/v1/models", "/models", "/metrics", "/props", "/slots", "/tokenize", "/v1/chat")
        for path in (*paths, "/completion", "/lora-adapters", "/api/tags"):
            for key in ({}, {"Authorization": "Bearer wrong"}):
                url = f"http://127.0.0.1:{address.port}{path}"
                assert await asyncio.to_thread(_status, url, key) == 401, path
        for path in ("/", "/index.html", "/health"):
            url = f"http://127.0.0.1:{address.port}{path}"
            assert await asyncio.to_thread(_status, url, {}) == 404, path
        assert server(engine)._key.reveal() not in repr(vars(server(engine)))
    assert listening() == before
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", address.port or 0)) != 0


def _status(url: str, headers: dict[str, str]) -> int:
    try:
        with urlopen(HttpRequest(url, headers=headers), timeout=10) as found:
            return int(found.status)
    except HTTPError as error:
        with error:
            return error.code


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of its own, with this engine and these questions at hand."""
    head = f"""
        import asyncio, sys
        from penstock.core.messages import say
        from penstock.core.ports import Timeouts
        from penstock.core.request import Request, Sampling, ReplyFormat
        from penstock.engines.llamacpp import Config, Engine
        from penstock.wire import json
        BIAS = {{"0": -100, "1": -100, "2": -100}}
        LONG = Request(messages=(say("user", "Tell me a story"),), sampling=Sampling(logit_bias=BIAS))
        BAD = {str(DEMO.parent / "nothing.gguf")!r}
    """
    path = str(DEMO.parents[2])
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", dedent(head) + dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_it_says_nothing_on_stdout_and_stderr() -> None:
    done = python("""
        async def main():
            engine = Engine(Config(), Timeouts())
            await engine.start()
            async for _ in engine.stream(LONG): pass
            words = Request(messages=(say("user", "Hello! " * 3000),))
            schema = json.raw('{"type":"bogus"}')
            wrong = Request(messages=LONG.messages,
                reply_format=ReplyFormat(kind="json_schema", schema=schema))
            for request in (words, wrong):
                try:
                    async for _ in engine.stream(request): pass
                except Exception: pass
            await engine.aclose()
            try: await Engine(Config(path=BAD), Timeouts()).start()
            except Exception: pass
        asyncio.run(main())
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "way", ["return", "raise SystemExit(0)", "while True: await anext(stream)"]
)
def test_a_process_that_just_ends_neither_hangs_nor_crashes(way: str) -> None:
    done = python(f"""
        async def main():
            global engine
            engine = Engine(Config(parallel=1), Timeouts())
            await engine.start()
            stream = engine.stream(LONG)
            for _ in range(5): await anext(stream)
            asyncio.get_running_loop().call_later(0.3, asyncio.current_task().cancel)
            {way}
        try: asyncio.run(main())
        except (asyncio.CancelledError, StopAsyncIteration): pass
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_ctrl_c_still_works_after_loading() -> None:
    done = python("""
        import os, signal
        async def main():
            engine = Engine(Config(), Timeouts())
            await engine.start()
            try:
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.sleep(30)
            finally:
                await engine.aclose()
        try: asyncio.run(main())
        except KeyboardInterrupt: print("interrupted")
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
