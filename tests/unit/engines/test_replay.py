"""Recordings, played."""

import asyncio
from pathlib import Path

import pytest

from penstock.core.errors import BindingDownError, EngineProtocolError, UnknownModelError
from penstock.core.events import Done, Entry, Event, Failed, Seq, Start, TextDelta, Usage
from penstock.core.ports import Timeouts
from penstock.core.request import Request
from penstock.engines.replay import Config, Engine
from penstock.testing.engines import play, said
from penstock.wire import json

START = Start(stream="s", asked="a", binding="b", model="m", created=1)
EVENTS: list[Event] = [
    START,
    TextDelta(part=1, text="a"),
    TextDelta(part=1, text="b"),
    Usage(input_tokens=1, output_tokens=2),
    Done(reason="stop"),
]
TIMES = (0, 30, 30, 60, 60)


def recording(folder: Path, *lines: object, name: str = "m") -> str:
    path = folder / f"{name}.jsonl"
    path.write_bytes(b"".join([json.encode(line) + b"\n" for line in lines]))
    return str(path)


def entries() -> list[Entry]:
    return [Entry(Seq(n + 1), TIMES[n], event) for n, event in enumerate(EVENTS)]


def engine(path: str, **config: object) -> Engine:
    return Engine(Config(path=path, **config), Timeouts())  # type: ignore[arg-type]


async def test_events_at_once_in_batches(tmp_path: Path) -> None:
    batches = await play(engine(recording(tmp_path, *EVENTS), batch=3), Request(model="m"))
    assert [list(batch) for batch in batches] == [[], EVENTS[1:4], EVENTS[4:]]


async def test_entries_with_the_gaps_of_the_recording(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    batches = await play(engine(recording(tmp_path, *entries())), Request())
    assert loop.time() - begun >= 0.059
    assert [list(batch) for batch in batches] == [[], EVENTS[1:3], EVENTS[3:]]


async def test_entries_at_once(tmp_path: Path) -> None:
    batches = await play(engine(recording(tmp_path, *entries()), speed=0), Request())
    assert [len(batch) for batch in batches] == [0, 1, 1, 1, 1]


async def test_repeated_with_one_end(tmp_path: Path) -> None:
    path = recording(tmp_path, *entries())
    for speed in (0, 10):
        batches = await play(engine(path, speed=speed, repeat=3), Request())
        assert said(batches) == EVENTS[1:4] * 3 + EVENTS[4:]


@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_broken_off(tmp_path: Path, after: int) -> None:
    path = recording(tmp_path, *EVENTS)
    for batch in (1, 2, 10):
        *before, end = said(await play(engine(path, batch=batch, fail_after=after), Request()))
        assert before == EVENTS[1 : 1 + after]
        assert isinstance(end, Failed)
        assert end.code == "engine_failed"


async def test_a_recording_without_an_end(tmp_path: Path) -> None:
    *_, end = said(await play(engine(recording(tmp_path, *EVENTS[:3])), Request()))
    assert isinstance(end, Failed)


async def test_a_folder_is_a_list_of_models(tmp_path: Path) -> None:
    recording(tmp_path, *EVENTS, name="one")
    recording(tmp_path, Done(reason="length"), name="two")
    player = engine(str(tmp_path), model="one")
    assert [card.name for card in await player.models()] == ["one", "two"]
    assert said(await play(player, Request(model="two"))) == [Done(reason="length")]
    assert said(await play(player, Request())) == EVENTS[1:]
    with pytest.raises(UnknownModelError):
        await play(player, Request(model="three"))


async def test_a_changed_recording_is_read_again(tmp_path: Path) -> None:
    player = engine(recording(tmp_path, *EVENTS))
    await play(player, Request())
    await asyncio.sleep(0.02)
    recording(tmp_path, Done(reason="length"))
    assert said(await play(player, Request())) == [Done(reason="length")]


@pytest.mark.parametrize(
    "line",
    [
        {"type": "telepathy", "of": "a later version"},
        {"seq": 3, "ms": 30, "event": {"type": "telepathy"}},
        {"seq": 3, "ms": 30},
        ["no", "event"],
        "text",
    ],
)
async def test_a_line_that_is_none_of_our_events_is_named(tmp_path: Path, line: object) -> None:
    player = engine(recording(tmp_path, *EVENTS[:2], line, EVENTS[-1]))
    for _ in range(2):
        with pytest.raises(EngineProtocolError, match="line 3 of the recording: ") as caught:
            await play(player, Request())
        assert str(tmp_path) not in caught.value.message
    # The model is still there, and plays once the line is gone.
    assert [card.name for card in await player.models()] == ["m"]
    recording(tmp_path, *EVENTS[:2], EVENTS[-1], name="better")
    assert said(await play(engine(str(tmp_path)), Request(model="better"))) == [
        EVENTS[1],
        EVENTS[-1],
    ]


async def test_an_empty_folder_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(BindingDownError):
        await engine(str(tmp_path)).start()
