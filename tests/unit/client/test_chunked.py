"""Chunked bodies, cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.client._chunked import Chunked


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    cuts=st.sets(st.integers(1, 400), max_size=10),
    trailer=st.sampled_from([b"", b"a: b\r\n", b"a: b\r\nc: d\r\n"]),
    extension=st.sampled_from([b"", b";x=1"]),
)
def test_however_it_is_cut(chunks: list[bytes], cuts: set[int], trailer: bytes, extension: bytes):
    coded = b"".join(b"%x%s\r\n%s\r\n" % (len(c), extension, c) for c in chunks)
    coded += b"0\r\n" + trailer + b"\r\n"
    chunked = Chunked()
    at, found = 0, b""
    for cut in sorted({*(cut for cut in cuts if cut < len(coded)), len(coded)}):
        assert not chunked.finished
        found += chunked.feed(coded[at:cut])
        at = cut
    assert found == b"".join(chunks)
    assert chunked.finished
    assert chunked.rest == b""


@pytest.mark.parametrize(
    "coded",
    [
        b"x\r\n",
        b"-5\r\nabcde\r\n",
        b"\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"1" * 20_000,
        b"0x3\r\nabc\r\n",
    ],
)
def test_what_is_no_such_coding(coded: bytes):
    with pytest.raises(ValueError, match=r"chunk|line"):
        Chunked().feed(coded)


def test_what_comes_after_the_end_is_left():
    chunked = Chunked()
    assert chunked.feed(b"1\r\na\r\n0\r\n\r\nHTTP/1.1") == b"a"
    assert chunked.rest == b"HTTP/1.1"
