"""What an answer is over the wire."""

import json
from collections.abc import Sequence

import pytest

from penstock.core.events import Done, Entry, Event, Failed, Seq, TextDelta, ToolCallDelta
from penstock.core.folding import Folder
from penstock.transports.mqtt.answering import whole
from penstock.transports.mqtt.shapes import Form, Note


def said(form: Form, events: Sequence[Event]) -> bytes:
    folder = Folder()
    for n, event in enumerate(events):
        folder.feed(Entry(Seq(n + 1), 0, event))
    note = Note(project="p", session="s", request="r", key="k", reply="p/x/s", form=form)
    return whole(note, folder.reply(), "0ba3").payload


def text(words: str) -> list[Event]:
    return [TextDelta(part=0, text=words), Done(reason="stop")]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ('{"hint": "left", "path": [[1, 2]]}', {"hint": "left", "path": [[1, 2]]}),
        ('\n {"path": []} \n', {"path": []}),
        ('```json\n{"break_wall": [1, 2]}\n```', {"break_wall": [1, 2]}),
        ('```\n{"path": []}\n```\n', {"path": []}),
        ("Go left.", {"hint": "Go left."}),
        ("[1, 2]", {"hint": "[1, 2]"}),
        ('{"hint": "cut', {"hint": '{"hint": "cut'}),
        ('Look: ```json\n{"path": []}\n```', {"hint": 'Look: ```json\n{"path": []}\n```'}),
        ("", {"hint": ""}),
    ],
)
def test_a_hint_is_always_an_object(words: str, hint: dict[str, object]) -> None:
    assert json.loads(said("hint", text(words))) == hint


def test_a_hint_that_calls_functions_says_so() -> None:
    call = ToolCallDelta(part=0, call="c", name="break_wall", arguments='{"at": [1, 2]}')
    found = json.loads(said("hint", [call, Done(reason="tool_calls")]))
    called = {"id": "c", "name": "break_wall", "arguments": {"at": [1, 2]}}
    assert found == {"hint": "", "tool_calls": [called]}


def test_what_broke_is_told_with_what_there_was() -> None:
    broken: list[Event] = [
        TextDelta(part=0, text="so far"),
        Failed(code="interrupted", message="the server was stopped", retryable=True),
    ]
    assert said("text", broken) == b"Error: the server was stopped"
    assert json.loads(said("hint", broken)) == {"error": "the server was stopped"}
    found = json.loads(said("json", broken))
    assert found["response"] == "so far"
    assert found["error"]["code"] == "interrupted"
