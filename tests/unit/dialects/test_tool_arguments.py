"""Models may write a call's arguments over several lines; a frame of a stream is one line."""

import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from penstock import registry
from penstock.core import events as ev
from penstock.core.messages import say
from penstock.core.ports import Dialect
from penstock.core.request import Request, ToolSpec

SAID = '{\n  "city": "Orléans",\r\n  "days": [1,\n 2]\n}'
MEANT = {"city": "Orléans", "days": [1, 2]}

Told = dict[str, Any]


def _of_portal(found: list[Told]) -> object:
    return found[0]["tool_calls"][0]["arguments"]


def _of_ollama(found: list[Told]) -> object:
    return found[0]["message"]["tool_calls"][0]["function"]["arguments"]


def _of_lollms(found: list[Told]) -> object:
    (called,) = [event for event in found if event["type"] == "function_call"]
    return called["content"]["arguments"]


@pytest.mark.parametrize(
    ("dialect", "told"),
    [("portal_chat", _of_portal), ("ollama", _of_ollama), ("lollms", _of_lollms)],
)
def test_arguments_of_several_lines_are_told_on_one(
    dialect: str, told: Callable[[list[Told]], object]
):
    request = Request(
        model="m", messages=(say("user", "Hi"),), tools=(ToolSpec(name="weather"),), stream=True
    )
    spoken = cast("Dialect", registry.load("dialects", dialect).Dialect())
    encoder = spoken.encoder(request)
    events: list[ev.Event] = [
        ev.Start(stream="a" * 32, asked="m", binding="b", model="m", created=1),
        ev.ToolCallDelta(part=0, call="c1", name="weather", arguments=SAID),
        ev.Done(reason="tool_calls"),
    ]
    entries = [ev.Entry(ev.Seq(n + 1), n, event) for n, event in enumerate(events)]
    frames = [frame.data for entry in entries for frame in encoder.feed(entry)]
    assert not any(b"\n" in data or b"\r" in data for data in frames)
    assert told([json.loads(data) for data in frames]) == MEANT
