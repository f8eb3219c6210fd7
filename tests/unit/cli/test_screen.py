"""What a terminal can show, by what it answers."""

import pytest
from tests.integration.terminals import ANSWERS

from penstock.cli import _screen


@pytest.mark.parametrize(
    ("kind", "shows"),
    [
        ("kitty", "kitty"),
        ("sixel", "sixel"),
        ("iterm2", "iterm2"),
        ("plain", "half blocks"),
        ("silent", "half blocks"),
    ],
)
def test_the_answer_decides(kind: str, shows: str):
    assert _screen.chosen(b"".join(ANSWERS[kind].values())) == shows


@pytest.mark.parametrize(
    ("answer", "shows"),
    [
        (b"\x1b_Gi=31;EINVAL:no\x1b\\\x1b[?62;22c", "half blocks"),
        (b"\x1b[?14;64c", "half blocks"),
        (b"typed before\x1b[?4c", "sixel"),
        (b"\x1b[?6", "half blocks"),
    ],
)
def test_odd_answers(answer: bytes, shows: str):
    assert _screen.chosen(answer) == shows


def test_nobody_looks_at_a_pipe(monkeypatch: pytest.MonkeyPatch):
    assert _screen.kind() is None
