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


@pytest.mark.parametrize(
    "text",
    [
        "a\x1b]0;owned\x07b\x9bc",
        "<http://a/%1B%5D0;owned%07>",
        "<http://a/%C2%9B31m>",
        "- <http://a/%1Bc>\n\n| a |\n|---|\n| <http://a/%1Bc> |\n",
        "&#27;c and &#x9b;c",
        "![<http://a/%1Bc>](http://a/%1Bc)",
    ],
)
def test_control_characters_of_a_model_reach_no_terminal(text: str):
    out = io.StringIO()
    with Rendering(Console(file=out, force_terminal=False)) as rendering:
        rendering.add(text)
    assert not set(out.getvalue()) & {"\x1b", "\x07", "\x9b"}
    assert "a" in out.getvalue()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A Vec<String> of <div>s.", ["Vec<String>", "<div>s"]),
        ("<think>\nHm.\n</think>\n\nYes.", ["<think>", "Hm.", "</think>", "Yes."]),
        ("<!-- not --> this", ["<!-- not -->", "this"]),
    ],
)
def test_what_looks_like_html_is_shown(text: str, words: list[str]):
    out = io.StringIO()
    with Rendering(Console(file=out, force_terminal=False, width=60)) as rendering:
        rendering.add(text)
    for word in words:
        assert word in out.getvalue()
