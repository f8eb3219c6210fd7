"""Sessions in a real gateway, over the real store and the memory log."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.unit.gateway.gateways import Scripted, ask, gateway, read, submit
from typing_extensions import override

from penstock.config.schema import Config, Defaults, Model, Server, Stores, Streams
from penstock.config.schema import Sessions as Settings
from penstock.core.cards import ModelCard
from penstock.core.errors import (
    EngineError,
    GatewayError,
    InvalidRequestError,
    OverloadedError,
    SessionBusyError,
    UnavailableError,
    UnsupportedParameterError,
)
from penstock.core.events import Done, Event, StreamId, TextDelta, ToolCallDelta
from penstock.core.messages import Message, TextPart, say
from penstock.core.principals import LOCAL
from penstock.core.queries import Query, SessionAsk, TokensAsk
from penstock.core.request import Request, Sampling
from penstock.core.sessions import Session
from penstock.gateway.gateway import Gateway
from penstock.gateway.sessions import DEFAULT_SYSTEM
from penstock.stores.sessions import Store

RESULT = Message(role="tool", parts=(TextPart("noon"),), tool_call_id="c1")


async def echo(request: Request) -> AsyncIterator[Sequence[Event]]:
    yield [TextDelta(part=0, text="Re: "), TextDelta(part=0, text=request.messages[-1].text)]
    yield [Done(reason="stop")]


async def forever(request: Request) -> AsyncIterator[Sequence[Event]]:
    yield [TextDelta(part=0, text="a")]
    await asyncio.Event().wait()


class Words(Scripted):
    """An engine whose tokens are words, with a context of a hundred; `counted`: what it counted."""

    def __init__(self, context: int = 100) -> None:
        super().__init__(echo)
        self.context = context
        self.counted: list[str] = []

    async def tokenize(self, asked: TokensAsk) -> Sequence[int]:
        self.counted.append(asked.text)
        return [0] * len(asked.text.split())

    async def detokenize(self, asked: TokensAsk) -> str:
        raise NotImplementedError

    @override
    async def models(self) -> Sequence[ModelCard]:
        return [ModelCard(name="m", context_size=self.context)]


@asynccontextmanager
async def chatting(
    folder: Path, engine: Scripted, config: Config | None = None
) -> AsyncIterator[Gateway]:
    store = Store(Stores(), folder / "stores.sqlite")
    config = config or Config(streams=Streams(log="memory"))
    async with gateway(engine, config=config, sessions=store) as made:
        yield made


async def say_in(made: Gateway, session: str, *messages: Message, **more: object) -> str:
    """One turn to its end; what was answered."""
    head = await submit(made, ask(messages=messages, session=session, **more))
    entries = await read(made, head)
    return "".join(e.event.text for e in entries if isinstance(e.event, TextDelta))


async def get(made: Gateway, session: str) -> Session:
    found = await made.find(Query("session", session, SessionAsk(session)), LOCAL)
    assert found.session is not None
    return found.session


async def test_turns_follow_each_other(tmp_path: Path):
    engine = Scripted(echo)
    async with chatting(tmp_path, engine) as made:
        await say_in(made, "a", say("system", "S"), say("user", "One"))
        await say_in(made, "a", say("system", "later"), say("user", "Two"))
        assert engine.asked[1].messages == (
            say("system", "S"),
            say("user", "One"),
            say("assistant", "Re: One"),
            say("user", "Two"),
        )
        session = await get(made, "a")
        assert (session.title, session.system) == ("One", "S")
        assert [turn.state for turn in session.turns] == ["done", "done"]
        await say_in(made, "b", say("user", "One"))
        assert (await get(made, "b")).system == DEFAULT_SYSTEM
        lines = (await made.find(Query("sessions"), LOCAL)).sessions
        assert [line.id for line in lines] == ["b", "a"]


async def test_an_alias_gives_a_session_its_system_prompt_and_is_remembered(tmp_path: Path):
    engine = Scripted(echo)
    alias = Model(binding="b0", name="m", system="Pirate.")
    config = Config(streams=Streams(log="memory"), models={"pirate": alias})
    async with chatting(tmp_path, engine, config) as made:
        await say_in(made, "a", say("user", "One"), model="pirate")
        head = await submit(made, ask(messages=(say("user", "Two"),), session="a"))
        assert head.request.model == "pirate"
        assert head.request.messages[0] == say("system", "Pirate.")
        await read(made, head)


async def test_one_turn_at_a_time(tmp_path: Path):
    going = asyncio.Event()

    async def slow(request: Request) -> AsyncIterator[Sequence[Event]]:
        yield [TextDelta(part=0, text="a")]
        await going.wait()
        yield [Done(reason="stop")]

    async with chatting(tmp_path, Scripted(slow)) as made:
        head = await submit(made, ask(session="a"))
        with pytest.raises(SessionBusyError) as caught:
            await submit(made, ask(session="a"))
        assert caught.value.retry_after
        assert (await get(made, "a")).turns[0].state == "live"
        other = await submit(made, ask(session="b"))
        going.set()
        await read(made, head)
        await read(made, other)
        # Right after the end, before its background work: the log decides.
        again = await submit(made, ask(session="a"))
        await read(made, again)
        assert [turn.state for turn in (await get(made, "a")).turns] == ["done", "done"]


async def test_an_error_is_never_an_answer(tmp_path: Path):
    async def broken(request: Request) -> AsyncIterator[Sequence[Event]]:
        if request.messages[-1].text.endswith("half"):
            yield [TextDelta(part=0, text="so f")]
        raise EngineError("it broke")
        yield ()

    async with chatting(tmp_path, Scripted(broken)) as made:
        await say_in(made, "a", say("user", "none"))
        await say_in(made, "a", say("user", "half"))
        none, half = (await get(made, "a")).turns
        assert (none.state, none.reply, none.error) == ("failed", None, "it broke")
        assert (half.state, half.reply) == ("failed", say("assistant", "so f"))


async def test_a_request_that_can_not_run_begins_no_turn(tmp_path: Path):
    engine = Scripted(echo)
    async with chatting(tmp_path, engine) as made:
        with pytest.raises(InvalidRequestError):
            await submit(made, ask(session="a", sampling=Sampling(seed=1)))
        found = await made.find(Query("session", "a", SessionAsk("a")), LOCAL)
        assert found.session is None
        await say_in(made, "a", say("user", "One"))
        with pytest.raises(InvalidRequestError):
            await submit(made, ask(session="a", sampling=Sampling(seed=1)))
        await say_in(made, "a", say("user", "Two"))
        assert len((await get(made, "a")).turns) == 2


async def test_a_turn_of_a_dead_process_is_ended(tmp_path: Path):
    """The store says live, the log (of memory) knows nothing: after a while it was interrupted."""
    file = tmp_path / "stores.sqlite"
    store = Store(Stores(), file)
    await store.open(Session(id="a", owner=LOCAL.id, system="S"))
    await store.begin(LOCAL.id, "a", "lost", (say("user", "One"),), 1_000)
    await store.aclose()
    engine = Scripted(echo)
    async with chatting(tmp_path, engine) as made:
        await say_in(made, "a", say("user", "Two"))
        first, second = (await get(made, "a")).turns
        assert (first.state, first.reply) == ("interrupted", None)
        assert second.state == "done"
        assert engine.asked[0].messages[-1].text == "One\n\nTwo"


async def test_history_is_trimmed_to_the_context_by_whole_turns(tmp_path: Path):
    engine = Words()
    async with chatting(tmp_path, engine) as made:
        for n in range(12):
            await say_in(made, "a", say("system", "S"), say("user", f"{n} " + "w " * 5))
        kept = [len(request.messages) for request in engine.asked]
        assert kept[0] == 2
        assert max(kept) == kept[-1] == kept[-2] < 10  # it has stopped to grow
        for request in engine.asked:
            assert request.messages[0] == say("system", "S")
            assert request.messages[1].role == "user"
        assert len((await get(made, "a")).turns) == 12


async def test_what_was_counted_is_not_counted_again(tmp_path: Path):
    engine = Words(context=10_000)
    async with chatting(tmp_path, engine) as made:
        for n in range(6):
            await say_in(made, "a", say("user", f"message {n}"))
        assert len(engine.counted) == len(set(engine.counted))
        assert len(engine.counted) <= 1 + 6 + 5


async def test_what_can_never_fit_is_refused(tmp_path: Path):
    async with chatting(tmp_path, Words()) as made:
        await say_in(made, "a", say("user", "short"))
        with pytest.raises(UnsupportedParameterError) as caught:
            await say_in(made, "a", say("user", "w " * 101))
        assert (caught.value.param, caught.value.status) == ("message", 400)
        await say_in(made, "a", say("user", "short again"))
        assert len((await get(made, "a")).turns) == 2


async def test_prompt_and_answer_never_ask_for_more_than_there_is(tmp_path: Path):
    engine = Words(context=200)
    async with chatting(tmp_path, engine) as made:
        for _ in range(4):
            await say_in(made, "a", say("user", "w " * 10), sampling=Sampling(max_tokens=4096))
        limits = [request.sampling.max_tokens or 0 for request in engine.asked]
        assert all(100 <= limit < 200 for limit in limits)
        assert len(engine.asked[-1].messages) > 2  # nor is the history lost for it


async def test_without_a_tokenizer_bytes_are_counted(tmp_path: Path):
    config = Config(streams=Streams(log="memory"), defaults=Defaults(default_context_size=400))
    engine = Scripted(echo)
    async with chatting(tmp_path, engine, config) as made:
        for _ in range(12):
            await say_in(made, "a", say("user", "é" * 30))
        for request in engine.asked:
            assert sum(len(m.text.encode()) for m in request.messages) <= 300
        await say_in(made, "a", say("user", "x" * 5000))  # only assumed to be too long


async def test_calls_stay_with_their_results(tmp_path: Path):
    class Calling(Words):
        supports = frozenset({"tools"})

    async def call(request: Request) -> AsyncIterator[Sequence[Event]]:
        if request.messages[-1].role == "tool":
            yield [TextDelta(part=0, text="noon " * 20), Done(reason="stop")]
        else:
            yield [ToolCallDelta(part=0, call="c1", name="now", arguments="{}")]
            yield [Done(reason="tool_calls")]

    engine = Calling()
    engine._script = call
    async with chatting(tmp_path, engine) as made:
        for _ in range(6):
            await say_in(made, "a", say("user", "When? " * 10))
            await say_in(made, "a", RESULT)
        for request in engine.asked:
            roles = [message.role for message in request.messages]
            assert roles.count("tool") == sum(len(m.tool_calls) for m in request.messages)
            if request.messages[-1].role == "tool":
                assert roles[-3:] == ["user", "assistant", "tool"]


async def test_results_that_come_twice_find_the_session_busy(tmp_path: Path):
    """And not "no such call": the answer to the first ones is not there yet."""
    going = asyncio.Event()

    async def call(request: Request) -> AsyncIterator[Sequence[Event]]:
        if request.messages[-1].role == "tool":
            await going.wait()
            yield [TextDelta(part=0, text="noon"), Done(reason="stop")]
        else:
            yield [ToolCallDelta(part=0, call="c1", name="now", arguments="{}")]
            yield [Done(reason="tool_calls")]

    config = Config(streams=Streams(log="memory"), sessions=Settings(busy="queue", max_waiting=1))
    for name, settings in (("refuse", None), ("queue", config)):
        async with chatting(tmp_path, Scripted(call), settings) as made:
            await say_in(made, name, say("user", "When?"))
            head = await submit(made, ask(messages=(RESULT,), session=name))
            async with asyncio.TaskGroup() as group:
                again = submit(made, ask(messages=(RESULT,), session=name))
                second = group.create_task(caught(again))
                await asyncio.sleep(0.1)
                going.set()
                await read(made, head)
            expected = SessionBusyError if settings is None else InvalidRequestError
            assert isinstance(second.result(), expected)
            assert [turn.state for turn in (await get(made, name)).turns] == ["done", "done"]
        going.clear()


async def caught(work: Awaitable[object]) -> GatewayError | None:
    try:
        await work
    except GatewayError as error:
        return error
    return None


async def test_results_may_be_sent_again_after_a_failure(tmp_path: Path):
    async def call(request: Request) -> AsyncIterator[Sequence[Event]]:
        if request.messages[-1].role != "tool":
            yield [ToolCallDelta(part=0, call="c1", name="now", arguments="{}")]
            yield [Done(reason="tool_calls")]
        elif len(engine.asked) < 3:
            raise EngineError("it broke")
        else:
            yield [TextDelta(part=0, text="noon"), Done(reason="stop")]

    engine = Scripted(call)
    async with chatting(tmp_path, engine) as made:
        await say_in(made, "a", say("user", "When?"))
        assert await say_in(made, "a", RESULT) == ""
        assert await say_in(made, "a", RESULT) == "noon"
        assert [m.role for m in engine.asked[2].messages[1:]] == ["user", "assistant", "tool"]


async def test_a_waiting_message_gets_its_turn(tmp_path: Path):
    going = asyncio.Event()

    async def slow(request: Request) -> AsyncIterator[Sequence[Event]]:
        yield [TextDelta(part=0, text="a")]
        await going.wait()
        yield [Done(reason="stop")]

    config = Config(streams=Streams(log="memory"), sessions=Settings(busy="queue", max_waiting=1))
    engine = Scripted(slow)
    async with chatting(tmp_path, engine, config) as made, asyncio.TaskGroup() as group:
        await submit(made, ask(session="a"))
        waiting = group.create_task(submit(made, ask(session="a")))
        await asyncio.sleep(0.1)
        with pytest.raises(SessionBusyError):
            await submit(made, ask(session="a"))
        going.set()
        async with asyncio.timeout(5):
            head = await waiting
            await read(made, head)
        assert len(engine.asked[1].messages) == 4


async def test_a_session_that_is_dropped_while_a_message_waits_begins_anew(tmp_path: Path):
    async def slow(request: Request) -> AsyncIterator[Sequence[Event]]:
        yield [TextDelta(part=0, text="a")]
        if len(engine.asked) == 1:
            await asyncio.Event().wait()
        yield [Done(reason="stop")]

    engine = Scripted(slow)
    config = Config(streams=Streams(log="memory"), sessions=Settings(busy="queue"))
    async with chatting(tmp_path, engine, config) as made, asyncio.TaskGroup() as group:
        await submit(made, ask(messages=(say("user", "A secret"),), session="a"))
        second = group.create_task(say_in(made, "a", say("user", "Something else")))
        await asyncio.sleep(0.1)
        await made.find(Query("drop_session", "a", SessionAsk("a")), LOCAL)
        assert await second == "a"
        session = await get(made, "a")
        assert (session.title, len(session.turns)) == ("Something else", 1)
        assert "secret" not in str(engine.asked[1].messages)


async def test_who_stops_waiting_leaves_nothing_behind(tmp_path: Path):
    async def endless(request: Request) -> AsyncIterator[Sequence[Event]]:
        yield [TextDelta(part=0, text="a")]
        await asyncio.sleep(3600)

    config = Config(streams=Streams(log="memory"), sessions=Settings(busy="queue"))
    async with chatting(tmp_path, Scripted(endless), config) as made:
        head = await submit(made, ask(session="a"))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(submit(made, ask(session="a")))
            await asyncio.sleep(0.05)
            waiting.cancel()
        await made.cancel(StreamId(head.stream), LOCAL)
        (turn,) = (await get(made, "a")).turns
        assert (turn.state, turn.reply) == ("cancelled", say("assistant", "a"))


async def test_who_leaves_just_when_a_turn_ends_has_left(tmp_path: Path):
    """Python 3.11's `wait_for` forgets a cancellation that comes with what it waits for."""
    config = Config(streams=Streams(log="memory"), sessions=Settings(busy="queue"))
    async with chatting(tmp_path, Scripted(forever), config) as made:
        await submit(made, ask(session="a"))
        waiting = asyncio.ensure_future(submit(made, ask(session="a")))
        await asyncio.sleep(0.1)
        made._sessions._freed(LOCAL.id, "a")
        waiting.cancel()
        await asyncio.wait([waiting], timeout=5)
        assert waiting.cancelled()


async def test_room_is_asked_for_again_when_a_turn_begins(tmp_path: Path):
    """Between the first look and the beginning lies the store: many may come in meanwhile."""
    config = Config(streams=Streams(log="memory"), server=Server(max_runs=2))
    async with chatting(tmp_path, Scripted(forever), config) as made:
        found = await asyncio.gather(
            *(submit(made, ask(session=f"s{n}")) for n in range(6)), return_exceptions=True
        )
        refused = [one for one in found if isinstance(one, OverloadedError)]
        assert len(refused) == 4
        assert made.metrics.runs == 2
        # Those that were refused have begun no turn.
        counts = [len((await get(made, f"s{n}")).turns) for n in range(6)]
        assert sorted(counts) == [0, 0, 0, 0, 1, 1]


async def test_a_message_that_comes_while_the_gateway_stops(tmp_path: Path):
    late: list[asyncio.Task[object]] = []
    async with asyncio.timeout(20):
        async with chatting(tmp_path, Scripted(forever)) as made:
            await submit(made, ask(session="first"))
            late = [asyncio.ensure_future(submit(made, ask(session=f"{n}"))) for n in range(4)]
            await asyncio.sleep(0)
        found = await asyncio.gather(*late, return_exceptions=True)
    assert all(isinstance(one, UnavailableError) for one in found), found
    assert made.metrics.runs == 0


async def test_a_client_that_leaves_at_any_moment_leaves_no_turn_without_a_stream(tmp_path: Path):
    """Cancelled in every phase of a beginning: the next message is taken at once."""
    async with chatting(tmp_path, Scripted(echo)) as made:
        for n in range(40):
            task = asyncio.ensure_future(submit(made, ask(session="a")))
            await asyncio.sleep(n * 0.0005)
            task.cancel()
            await asyncio.wait([task])
            while made.metrics.runs:
                await asyncio.sleep(0.001)
            await say_in(made, "a", say("user", "next"))
        turns = (await get(made, "a")).turns
        assert {turn.state for turn in turns} == {"done"}
        assert [turn.reply is not None for turn in turns] == [True] * len(turns)
