"""Functions of the server's own: what is loaded, what a model is told, how the rounds go."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from tests.unit.gateway.gateways import Scripted, ask, events, gateway, read, submit

from penstock.config.schema import Config, Paths
from penstock.config.schema import Functions as Settings
from penstock.core import events as ev
from penstock.core.errors import ConfigError, NotFoundError, UnsupportedParameterError
from penstock.core.folding import fold
from penstock.core.messages import ToolCall
from penstock.core.principals import LOCAL
from penstock.core.request import Request, ToolSpec
from penstock.gateway.functions import MOST_RESULT, MOST_ROUNDS, Functions, load_functions
from penstock.gateway.own_code import OwnCode

MODULE = '''\
import asyncio
from asyncio import sleep
from dataclasses import dataclass

async def current(city: str, unit: str = "celsius", days: list[int] | None = None) -> object:
    """The weather of now.

    In a city.
    """
    return {"city": city, "unit": unit, "days": days}

async def broken():
    raise LookupError("no such place")

async def leaves():
    raise SystemExit(3)

async def endless():
    await asyncio.sleep(60)

async def long():
    return "x" * 20000

async def fails_at_length():
    raise ValueError("x" * 20000)

class Mute(Exception):
    def __str__(self):
        raise ValueError("no words")

async def mute():
    raise Mute

async def gives_up():
    raise asyncio.CancelledError("what it waited for")

async def odd(of: str):
    return "caf\\udce9" + of

async def _hidden(): ...

def plain(): ...

class NotAFunction: ...
'''


def load(folder: Path, text: str = MODULE, timeout: float = 5.0) -> Functions:
    (folder / "weather.py").write_text(text)
    (folder / "other.py").write_text("raise SystemExit('it was run')")
    return load_functions(
        Config(
            paths=Paths(functions_folder=str(folder)),
            functions=Settings(modules=("weather",), timeout_seconds=timeout),
        )
    )


def call(name: str, arguments: str = "") -> ToolCall:
    return ToolCall(id="c", name=f"weather__{name}", arguments=arguments)


# ── loading ──────────────────────────────────────────────────────────────────────────────────────


def test_public_coroutines_of_listed_modules_are_functions_and_nothing_else(tmp_path: Path):
    assert load(tmp_path).names == (
        "weather.broken",
        "weather.current",
        "weather.endless",
        "weather.fails_at_length",
        "weather.gives_up",
        "weather.leaves",
        "weather.long",
        "weather.mute",
        "weather.odd",
    )


def test_a_signature_and_a_docstring_are_what_the_model_is_told(tmp_path: Path):
    (tool,) = load(tmp_path).offered(ask(functions=("weather.current",))).tools
    assert (tool.name, tool.description) == (
        "weather__current",
        "The weather of now.\n\nIn a city.",
    )
    assert json.loads(bytes(tool.parameters)) == {  # type: ignore[arg-type]
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"type": "string"},
            "days": {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]},
        },
        "required": ["city"],
    }


def test_a_schema_of_nested_types_refers_within_itself(tmp_path: Path):
    text = (
        "import msgspec\nfrom typing import Annotated\n"
        "class Place(msgspec.Struct):\n    lat: float\n"
        "async def at(place: Place, n: Annotated[int, msgspec.Meta(ge=1, description='how often')])"
        ": ...\n"
    )
    (tool,) = load(tmp_path, text).offered(ask(functions=("weather.at",))).tools
    schema = json.loads(bytes(tool.parameters))  # type: ignore[arg-type]
    assert schema["properties"]["place"] == {"$ref": "#/$defs/Place"}
    assert schema["$defs"]["Place"]["properties"] == {"lat": {"type": "number"}}
    assert schema["properties"]["n"]["description"] == "how often"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1/0", "weather.py can't be loaded: ZeroDivisionError"),
        ("raise SystemExit('no')", "weather.py can't be loaded: SystemExit"),
        ("def (", "weather.py can't be loaded: SyntaxError"),
        ("async def f(*many): ...", "weather.f: its arguments can't be told to a model"),
        ("async def f(x, /): ...", "weather.f: its arguments can't be told to a model"),
        ("async def f(x: 'Unknown'): ...", "weather.f: its arguments can't be told to a model"),
        ("class A: ...\nasync def f(x: A): ...", "weather.f: its arguments can't be told"),
    ],
)
def test_what_cannot_be_loaded_is_an_error_that_says_why(tmp_path: Path, text: str, said: str):
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")) as caught:
        load(tmp_path, text)
    assert caught.value.param == "functions.modules"


def test_what_is_not_there_is_an_error(tmp_path: Path):
    listed = Settings(modules=("nothing",))
    with pytest.raises(ConfigError, match="there is no nothing"):
        load_functions(Config(paths=Paths(functions_folder=str(tmp_path)), functions=listed))
    with pytest.raises(ConfigError, match="functions_folder says where"):
        load_functions(Config(functions=listed))
    outside = Settings(modules=("../weather",))
    with pytest.raises(ConfigError, match="there is no"):
        load_functions(Config(paths=Paths(functions_folder=str(tmp_path)), functions=outside))
    assert load_functions(Config(paths=Paths(functions_folder=str(tmp_path)))).names == ()


# ── one call ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (call("current", '{"city": "Oslo"}'), '{"city":"Oslo","unit":"celsius","days":null}'),
        (call("current", '{"city": "Oslo", "days": [1], "x": 1}'),
         '{"city":"Oslo","unit":"celsius","days":[1]}'),
        (call("current"), "error: city: Object missing required field `city`"),
        (call("current", '{"city": 3}'), "error: city: Expected `str`, got `int`"),
        (call("current", '{"city": "Os'), "error: not valid JSON: Input data was truncated"),
        (call("broken"), "error: LookupError: no such place"),
        (call("leaves"), "error: SystemExit: 3"),
        (call("mute"), "error: Mute: "),
        (call("gives_up"), "error: CancelledError: what it waited for"),
        (call("odd", '{"of": "é"}'), "caf\ufffdé"),
    ],
)  # fmt: skip
async def test_a_call_is_checked_made_and_answered_also_when_it_fails(
    tmp_path: Path, asked: ToolCall, told: str
):
    assert await load(tmp_path).answer(asked) == told


async def test_a_call_has_a_time_limit_and_its_result_a_length(tmp_path: Path):
    assert await load(tmp_path, timeout=0.01).answer(call("endless")) == "error: it took too long"
    told = await load(tmp_path).answer(call("long"))
    assert told == "x" * MOST_RESULT + "… (cut, it has 20000 characters)"
    told = await load(tmp_path).answer(call("fails_at_length"))
    assert len(told) < MOST_RESULT + 50
    assert told.startswith("error: ValueError: xxx")


async def test_scripts_call_them_by_name(tmp_path: Path):
    functions = load(tmp_path)
    said = await functions.execute("weather.current", {"city": "Rome", "other": 1})
    assert said == (True, {"city": "Rome", "unit": "celsius", "days": None})
    ok, told = await functions.execute("weather.current", {})
    assert not ok
    assert "city" in str(told)
    assert await functions.execute("weather.nothing", {}) == (
        False,
        "no function named 'weather.nothing'",
    )


# ── rounds ───────────────────────────────────────────────────────────────────────────────────────


class Caller(Scripted):
    """An engine that calls tools; `turns` are the calls of each round, then it says what it was
    told.
    """

    supports = frozenset({"temperature", "stop", "tools"})

    def __init__(self, *turns: Sequence[tuple[str, str]]) -> None:
        super().__init__(self._answer)
        self._turns = list(turns)

    async def _answer(self, request: Request) -> AsyncIterator[Sequence[ev.Event]]:
        said = [message.text for message in request.messages if message.role == "tool"]
        turn = len([message for message in request.messages if message.tool_calls])
        usage = ev.Usage(input_tokens=10 + turn, output_tokens=2, reasoning_tokens=1)
        if turn >= len(self._turns):
            yield [ev.TextDelta(part=1, text=f"I was told {said}"), usage, ev.Done(reason="stop")]
            return
        yield [ev.ReasoningDelta(part=0, text="hm")]
        for n, (name, arguments) in enumerate(self._turns[turn]):
            yield [ev.ToolCallDelta(part=2 + n, call=f"c{n}", name=name)]
            yield [ev.ToolCallDelta(part=2 + n, call=f"c{n}", arguments=arguments)]
        yield [usage, ev.Done(reason="tool_calls")]


OSLO = ("weather__current", '{"city":"Oslo"}')


def offering(functions: Functions, **more: object) -> Request:
    return ask(functions=("weather.current", "weather.broken"), **more)


async def test_calls_are_answered_and_the_stream_goes_on(tmp_path: Path):
    functions = load(tmp_path)
    engine = Caller([OSLO, ("weather__broken", "")], [OSLO])
    async with gateway(engine, own=OwnCode(functions)) as made:
        head = await submit(made, offering(functions))
        entries = await read(made, head)
    said = events(entries)
    assert [type(event) for event in said].count(ev.Done) == 1
    assert said[-1] == ev.Done(reason="stop")
    usage = said[-2]
    assert usage == ev.Usage(input_tokens=33, output_tokens=6, reasoning_tokens=3)
    assert [type(event) for event in said].count(ev.Usage) == 1
    reply = fold(entries).first
    assert [(c.name, c.arguments) for c in reply.tool_calls] == [
        OSLO,
        ("weather__broken", ""),
        OSLO,
    ]
    parts = {(type(e), e.part) for e in said if isinstance(e, ev.ToolCallDelta | ev.TextDelta)}
    assert len(parts) == 4
    result = '{"city":"Oslo","unit":"celsius","days":null}'
    assert reply.text == f"I was told {[result, 'error: LookupError: no such place', result]}"
    told = [event.text for event in said if isinstance(event, ev.Progress)]
    assert told[:4] == [
        "calling weather.current",
        "calling weather.broken",
        f"weather.current: {result}",
        "weather.broken: error: LookupError: no such place",
    ]
    # The log holds what was offered; the engine was given names that every model takes.
    assert head.request.functions == ("weather.current", "weather.broken")
    assert [tool.name for tool in engine.asked[0].tools] == ["weather__current", "weather__broken"]


async def test_a_model_that_calls_for_ever_is_stopped(tmp_path: Path):
    functions = load(tmp_path)
    engine = Caller(*[[OSLO]] * 50)
    async with gateway(engine, own=OwnCode(functions)) as made:
        said = events(await read(made, await submit(made, offering(functions))))
    assert len(engine.asked) == MOST_ROUNDS + 1
    end = said[-1]
    assert isinstance(end, ev.Failed)
    assert "after 8 rounds" in end.message


async def test_a_turn_that_also_calls_the_clients_tools_ends_there(tmp_path: Path):
    functions = load(tmp_path)
    engine = Caller([OSLO, ("theirs", "{}")])
    async with gateway(engine, own=OwnCode(functions)) as made:
        request = offering(functions, tools=(ToolSpec(name="theirs"),))
        said = events(await read(made, await submit(made, request)))
    assert len(engine.asked) == 1
    assert said[-1] == ev.Done(reason="tool_calls")
    assert any(isinstance(e, ev.Progress) and "Oslo" in e.text for e in said)


async def test_a_cancel_while_a_function_runs_ends_the_run(tmp_path: Path):
    functions = load(tmp_path, timeout=60)
    engine = Caller([("weather__endless", "")])
    async with gateway(engine, own=OwnCode(functions)) as made:
        request = ask(functions=("weather.endless",))
        head = await submit(made, request)
        async with asyncio.timeout(10):
            while not engine.stopped.is_set():
                await asyncio.sleep(0)
            assert await made.cancel(ev.StreamId(head.stream), LOCAL)
        assert events(await read(made, head))[-1] == ev.Done(reason="cancelled")


async def test_unknown_ones_and_engines_without_tools_are_refused_by_name(tmp_path: Path):
    functions = load(tmp_path)

    async def nothing(request: Request) -> AsyncIterator[Sequence[ev.Event]]:
        yield [ev.Done(reason="stop")]

    async with gateway(Scripted(nothing), own=OwnCode(functions)) as made:
        with pytest.raises(NotFoundError, match="no function named") as unknown:
            await submit(made, ask(functions=("weather.nothing",)))
        assert unknown.value.param == "functions"
        with pytest.raises(UnsupportedParameterError, match="'b0' does not support functions"):
            await submit(made, ask(functions=("weather.current",), freeform=True))
        assert made.questions.functions == functions.names


async def test_several_choices_go_on_each_by_itself(tmp_path: Path):
    functions = load(tmp_path)
    engine = Caller([OSLO])
    async with gateway(engine, own=OwnCode(functions)) as made:
        reply = fold(await read(made, await submit(made, offering(functions, choices=2))))
    assert len(reply.choices) == 2
    assert len({choice.text for choice in reply.choices}) == 1
    assert "Oslo" in reply.choices[1].text
