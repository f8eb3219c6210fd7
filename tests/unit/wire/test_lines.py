"""Bytes to lines, however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.lines import Lines


def lines(pieces: list[bytes]) -> list[bytes]:
    reader = Lines()
    return [line for piece in pieces for line in reader.feed(piece)]


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\xc2\x85", b" "]), max_size=30))
def test_every_cut_gives_the_same_lines(parts: list[bytes]):
    whole = b"".join(parts)
    expected = lines([whole])
    for cut in range(len(whole) + 1):
        assert lines([whole[:cut], whole[cut:]]) == expected
    assert lines([whole[i : i + 1] for i in range(len(whole))]) == expected


def test_only_cr_and_lf_end_a_line():
    assert lines(["a\u2028b\u0085c\x0bd\x1ce\n".encode()]) == ["a\u2028b\u0085c\x0bd\x1ce".encode()]


def test_the_rest_is_kept():
    reader = Lines()
    assert list(reader.feed(b"one\ntw")) == [b"one"]
    assert reader.rest == b"tw"


def test_an_endless_line_is_refused():
    reader = Lines(max_line=100)
    with pytest.raises(ValueError, match="longer than 100"):
        for _ in range(20):
            list(reader.feed(b"x" * 10))
