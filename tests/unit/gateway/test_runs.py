"""A run makes any engine's output a well-formed stream, and stops when it is told to."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.unit.gateway.gateways import Scripted, ask, events, gateway, read, submit

from penstock.config.schema import Config, Model, Server, Streams
from penstock.core.errors import (
    BindingDownError,
    ConfigError,
    EngineError,
    EngineRefusedError,
    InvalidRequestError,
    OverloadedError,
    UnavailableError,
    UnknownBindingError,
)
from penstock.core.events import Done, Event, Failed, Start, StreamId, TextDelta, Usage
from penstock.core.ports import Timeouts
from penstock.core.principals import LOCAL, Principal
from penstock.core.request import Request, Sampling

Batches = AsyncIterator[Sequence[Event]]


def text(words: str) -> TextDelta:
    return TextDelta(part=1, text=words)


async def hello(_request: Request) -> Batches:
    yield ()
    yield [text("Hel"), text("lo")]
    yield [Usage(input_tokens=1, output_tokens=2), Done(reason="stop")]


async def endless(_request: Request) -> Batches:
    yield ()
    while True:
        yield [text("more ")]
        await asyncio.sleep(0.005)


async def test_one_start_then_the_engines_events_then_one_terminal():
    async with gateway(Scripted(hello)) as made:
        head = await submit(made)
        found = await read(made, head)
        assert [entry.seq for entry in found] == [1, 2, 3, 4, 5]
        start, *deltas, usage, done = events(found)
        assert isinstance(start, Start)
        assert (start.stream, start.binding, start.model) == (head.stream, "b0", "m")
        assert deltas == [text("Hel"), text("lo")]
        assert usage == Usage(input_tokens=1, output_tokens=2)
        assert done == Done(reason="stop")
        assert made.metrics.requests["test", "b0", "m", "stop"] == 1
        assert made.metrics.tokens["b0", "m", "output"] == 2


async def test_the_star_alias_answers_unknown_names_and_says_so():
    models = {"*": Model(binding="b0", temperature=0.5), "mine": Model(binding="b0")}
    config = Config(streams=Streams(log="memory"), models=models)
    engine = Scripted(hello)
    async with gateway(engine, config=config) as made:
        head = await submit(made, Request(model="gpt-9", messages=ask().messages))
        start = events(await read(made, head))[0]
        assert isinstance(start, Start)
        assert (start.asked, start.model) == ("gpt-9", "m")
        assert head.request.ignored == ("model",)
        assert engine.asked[0].sampling.temperature == 0.5
        head = await submit(made, Request(model="mine", messages=ask().messages))
        assert head.request.ignored == ()
        with pytest.raises(UnknownBindingError):
            await submit(made, Request(model="gpt-9", binding="nobody"))
        assert "*" not in [card.name for card in made.questions.model_cards()]


async def test_an_alias_is_listed_with_the_model_that_answers_for_it():
    models = {
        "named": Model(binding="b0", name="m:latest"),
        "unnamed": Model(binding="b0"),
        "unlisted": Model(binding="b0", name="new"),
    }
    config = Config(streams=Streams(log="memory"), models=models)
    async with gateway(Scripted(hello), config=config) as made:
        await submit(made)  # until the binding has told its models
        cards = {card.name: card for card in made.questions.model_cards()}
    assert {name: cards[name].alias_of for name in models} == {
        "named": "m",
        "unnamed": "m",
        "unlisted": "new",
    }


async def test_what_only_a_run_may_say_is_left_out_and_nothing_follows_the_terminal():
    async def sloppy(_request: Request) -> Batches:
        yield [Start(stream="x", asked="", binding="", model="", created=0), text("a")]
        yield [text("b"), Done(reason="length"), text("late"), Done(reason="stop")]
        yield [text("later")]

    engine = Scripted(sloppy)
    async with gateway(engine) as made:
        found = events(await read(made, await submit(made)))
        assert [type(event) for event in found] == [Start, TextDelta, TextDelta, Done]
        assert found[0] != Start(stream="x", asked="", binding="", model="", created=0)
        assert found[-1] == Done(reason="length")
        assert engine.stopped.is_set()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EngineError("no luck"), "engine_failed"),
        (OverloadedError("full"), "overloaded"),
        (ZeroDivisionError("a bug with a secret in it"), "internal_error"),
    ],
)
async def test_a_broken_engine_ends_its_stream_and_no_other(error: Exception, code: str):
    async def broken(request: Request) -> Batches:
        if request.sampling.temperature:
            async for batch in endless(request):
                yield batch
        yield [text("partly")]
        raise error

    async with gateway(Scripted(broken)) as made:
        other = await submit(made, ask(sampling=Sampling(temperature=1.0)))
        found = events(await read(made, await submit(made)))
        assert found[1] == text("partly")
        assert isinstance(found[-1], Failed)
        assert found[-1].code == code
        assert "secret" not in found[-1].message
        watch = made.watch(StreamId(other.stream), 0)  # type: ignore[arg-type]
        assert await watch.take()
        watch.close()


async def test_a_failure_before_acceptance_is_one_batch():
    async def refusing(_request: Request) -> Batches:
        raise EngineRefusedError("wrong key")
        yield ()

    async with gateway(Scripted(refusing)) as made:
        head = await submit(made)
        watch = made.watch(StreamId(head.stream), 0)  # type: ignore[arg-type]
        first = await watch.take()
        assert [type(entry.event) for entry in first] == [Start, Failed]
        watch.close()


async def test_an_engine_that_stops_without_a_word_has_failed():
    async def silent(_request: Request) -> Batches:
        yield [text("and")]

    async with gateway(Scripted(silent)) as made:
        last = events(await read(made, await submit(made)))[-1]
        assert isinstance(last, Failed)
        assert last.code == "engine_protocol"


async def test_cancel_stops_the_engine_and_says_so():
    engine = Scripted(endless)
    async with gateway(engine) as made:
        head = await submit(made)
        watch = made.watch(StreamId(head.stream), 0)  # type: ignore[arg-type]
        await watch.take()
        assert await made.cancel(StreamId(head.stream), LOCAL)
        assert engine.stopped.is_set()
        assert not await made.cancel(StreamId(head.stream), LOCAL)
        watch.close()
        assert events(await read(made, head))[-1] == Done(reason="cancelled")


async def test_a_run_cancelled_before_its_first_step_still_ends_its_stream():
    async with gateway(Scripted(endless)) as made:
        head = await submit(made)
        assert await made.cancel(StreamId(head.stream), LOCAL)
        found = events(await read(made, head))
        assert [type(event) for event in found] == [Start, Done]


@pytest.mark.parametrize("said", [False, True])
async def test_silence_ends_a_run(said: bool):
    async def stalling(_request: Request) -> Batches:
        yield ()
        if said:
            yield [text("one")]
        yield [Usage(input_tokens=1, output_tokens=1)]  # no token: moves no clock
        await asyncio.sleep(60)

    engine = Scripted(stalling)
    config = Config(
        streams=Streams(log="memory"), timeouts=Timeouts(first_token=0.1, between_tokens=0.1)
    )
    async with gateway(engine, config=config) as made:
        last = events(await read(made, await submit(made)))[-1]
        assert isinstance(last, Failed)
        assert last.code == "engine_timeout"
        assert ("next" if said else "first") in last.message
        assert engine.stopped.is_set()


async def test_a_fallback_answers_while_nothing_was_said():
    async def down(_request: Request) -> Batches:
        raise UnavailableError("down")
        yield ()

    config = Config(
        streams=Streams(log="memory"),
        models={"fast": Model(binding="b0", name="m", fallback=("b1/m",))},
    )
    async with gateway(Scripted(down), Scripted(hello), config=config) as made:
        start = events(await read(made, await submit(made, ask(model="fast"))))[0]
        assert isinstance(start, Start)
        assert (start.asked, start.binding) == ("fast", "b1")


async def test_no_fallback_after_something_was_said_or_for_a_wrong_request():
    async def halfway(_request: Request) -> Batches:
        yield [text("half")]
        raise EngineError("gone")

    async def picky(_request: Request) -> Batches:
        raise InvalidRequestError("no", param="stop")
        yield ()

    for script, code in ((halfway, "engine_failed"), (picky, "invalid_request")):
        spare = Scripted(hello)
        config = Config(
            streams=Streams(log="memory"),
            models={"fast": Model(binding="b0", name="m", fallback=("b1/m",))},
        )
        async with gateway(Scripted(script), spare, config=config) as made:
            last = events(await read(made, await submit(made, ask(model="fast"))))[-1]
            assert isinstance(last, Failed)
            assert last.code == code
            assert spare.asked == []


async def test_a_binding_that_did_not_start_says_why_and_the_others_serve():
    bad = Scripted(hello, ConfigError("no such file", param="path"))
    async with gateway(bad, Scripted(hello)) as made:
        await made.bindings.started(within=5)
        good = events(await read(made, await submit(made, ask(model="m"))))
        assert good[-1] == Done(reason="stop")
        with pytest.raises(BindingDownError, match="no such file"):
            await submit(made, ask(binding="b0"))
        last = events(await read(made, await submit(made, ask(binding="b0", model="m"))))[-1]
        assert isinstance(last, Failed)
        assert last.code == "binding_down"
        assert "no such file" in last.message


@pytest.mark.parametrize("model", ["", "m", "fast"])
async def test_where_no_binding_is_up_every_model_is_refused_with_the_reason(model: str):
    bad = Scripted(hello, ConfigError("no such file", param="path"))
    config = Config(streams=Streams(log="memory"), models={"fast": Model(binding="b0")})
    async with gateway(bad, config=config) as made:
        with pytest.raises(BindingDownError, match="no binding is up: b0: no such file"):
            await submit(made, ask(model=model))


async def test_the_end_of_the_gateway_interrupts_its_runs():
    engine = Scripted(endless)
    async with gateway(engine) as made:
        head = await submit(made)
        watch = made.watch(StreamId(head.stream), 0)  # type: ignore[arg-type]
        await watch.take()
    found = [entry for batch in [await watch.take()] for entry in batch]
    assert isinstance(found[-1].event, Failed)
    assert found[-1].event.code == "interrupted"
    assert engine.closed
    with pytest.raises(UnavailableError):
        await submit(made)


async def test_room_is_bounded():
    config = Config(streams=Streams(log="memory"), server=Server(max_runs=1))
    async with gateway(Scripted(endless), config=config) as made:
        await submit(made)
        with pytest.raises(OverloadedError):
            await submit(made)


async def test_a_streams_owner_alone_may_touch_it():
    async with gateway(Scripted(hello)) as made:
        mine = Principal(id="me")
        head = await made.submit(ask(), "test", mine)
        await read(made, head)
        stream = StreamId(head.stream)
        for stranger_may_not in (made.head, made.info, made.cancel, made.erase):
            with pytest.raises(Exception, match="no stream"):
                await stranger_may_not(stream, Principal(id="you"))
        assert [info.stream for info in await made.recent(mine, 10)] == [head.stream]
        assert await made.recent(Principal(id="you"), 10) == []
        assert len(await made.recent(LOCAL, 10)) == 1
        await made.erase(stream, mine)
        with pytest.raises(Exception, match="no such stream"):
            await made.head(stream, mine)
