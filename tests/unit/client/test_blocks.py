"""The quick way and the standard's way say the same, however bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.client._blocks import Blocks
from penstock.wire import sse
from penstock.wire.lines import Lines

PIECES = [
    *(b"data: a\n\n", b"data:b\n\n", b"id: 7\ndata: c\n\n", b": ping\n\n", b": ping\n"),
    *(b"\n", b"\r\n", b"\r", b"data: d\r\n\r\n", b"data: e\ndata: f\n\n", b"retry: 3\n\n"),
    *(b"event: x\ndata: g\n\n", b"data: h\nid: 8\n\n", b"data: i data: j\n\n", b"data\n\n"),
    *(b"data: \n\n", b"xdata: k\n\n", b"data: l", b"id: data: m\n\n"),
]


def standard(data: bytes) -> list[bytes]:
    lines, decoder = Lines(), sse.Decoder()
    return [event.data for line in lines.feed(data) for event in decoder.feed(line)]


@given(
    pieces=st.lists(st.sampled_from(PIECES), max_size=12),
    cuts=st.lists(st.integers(0, 120), max_size=8),
)
def test_they_say_the_same(pieces: list[bytes], cuts: list[int]):
    data = b"".join(pieces)
    at = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    blocks = Blocks()
    found = [said for start, end in pairwise(at) for said in blocks.feed(data[start:end])]
    assert found == standard(data)


def test_an_event_without_an_end_is_given_up():
    blocks = Blocks(100)
    with pytest.raises(ValueError, match="longer than 100"):
        for _ in range(3):
            blocks.feed(b"x" * 50)
