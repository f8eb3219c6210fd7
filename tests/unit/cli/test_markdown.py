"""Markdown while it arrives: what is printed for good, and what is still open."""

import io

import pytest
from rich.console import Console

from penstock.cli._markdown import Rendering, split


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ("one", ""),
        ("one\n\n", ""),
        ("one\n\ntwo", "one\n\n"),
        ("one\n\ntwo\n\nthree", "one\n\ntwo\n\n"),
        ("```\na\n\nb", ""),
        ("```\na\n\nb\n```\n\nthen", "```\na\n\nb\n```\n\n"),
        ("1. a\n\n2. b", ""),
        ("- a\n\n- b\n\nthen", "- a\n\n- b\n\n"),
        ("- a\n\n  more", ""),
    ],
)
def test_a_block_is_done_when_nothing_can_change_it(text: str, done: str):
    assert split(text) == (done, text[len(done) :])


def test_however_it_arrives_every_word_is_shown_once_in_order():
    text = "# Title\n\nSome *words* here.\n\n```py\nx = 1\n\ny = 2\n```\n\n- a\n- b\n\nLast."
    for size in (1, 3, 1000):
        out = io.StringIO()
        console = Console(file=out, force_terminal=False, width=60)
        with Rendering(console) as rendering:
            for n in range(0, len(text), size):
                rendering.add(text[n : n + size])
        shown = out.getvalue()
        places = [shown.index(word) for word in ("Title", "words", "x = 1", "y = 2", "Last.")]
        assert places == sorted(places)
        assert shown.count("x = 1") == 1


def test_control_characters_of_a_model_reach_no_terminal():
    out = io.StringIO()
    with Rendering(Console(file=out, force_terminal=False)) as rendering:
        rendering.add("a\x1b]0;owned\x07b\x9bc")
    assert not set(out.getvalue()) & {"\x1b", "\x07", "\x9b"}
