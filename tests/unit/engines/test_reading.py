"""Bytes to events and lines, however they are cut."""

import random
from pathlib import Path

import pytest

from penstock.core.errors import EngineProtocolError
from penstock.engines._reading import Events, JsonLines
from penstock.testing.vectors import EngineVector, engine_vectors

VECTORS = engine_vectors(Path(__file__).parents[2] / "vectors")

ODD = (
    b'\xef\xbb\xbfdata: {"a":1}\n\n: ping\n\ndata: {"b":\ndata:2}\r\n\r\n'
    b'event: error\ndata: "x"\r\r'
    b"data:{}\n\nid: 7\nretry: 10\ndata: [1]\n\n\n\ndata: [2]\n\ndata: [3]\n\ndata: [DONE]"
)
MEANT = [
    ("message", b'{"a":1}'),
    ("message", b'{"b":\n2}'),
    ("error", b'"x"'),
    ("message", b"{}"),
    ("message", b"[1]"),
    ("message", b"[2]"),
    ("message", b"[3]"),
    ("message", b"[DONE]"),
]


def events(pieces: list[bytes]) -> list[tuple[str, bytes]]:
    reader = Events()
    found = [event for piece in pieces for event in reader.feed(piece)] + reader.end()
    return [(event.event, event.data) for event in found]


def test_every_cut_of_an_odd_stream() -> None:
    assert events([ODD]) == MEANT
    for n in range(len(ODD)):
        assert events([ODD[:n], ODD[n:]]) == MEANT, n
    assert events([ODD[n : n + 1] for n in range(len(ODD))]) == MEANT


def test_every_cut_of_a_stream_that_begins_with_a_byte_order_mark() -> None:
    body = b"\xef\xbb\xbfdata: 1\n\ndata: 2\n\n: ping\n\ndata: 3\n\n"
    meant = [("message", b"1"), ("message", b"2"), ("message", b"3")]
    for a in range(len(body)):
        for b in range(a, len(body)):
            pieces = [body[:a], body[a:b], body[b:]]
            assert events([piece for piece in pieces if piece]) == meant, (a, b)


def test_random_cuts() -> None:
    random_ = random.Random(5)
    for _ in range(500):
        cuts = sorted(random_.sample(range(1, len(ODD)), 6))
        pieces = [ODD[a:b] for a, b in zip([0, *cuts], [*cuts, len(ODD)], strict=True)]
        assert events(pieces) == MEANT, cuts


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if v.body.startswith((b"data", b":"))], ids=lambda v: v.name
)
def test_every_cut_of_every_vector(vector: EngineVector) -> None:
    body = vector.body
    whole = events([body])
    for n in range(0, len(body), 7):
        assert events([body[:n], body[n:]]) == whole, n


def test_an_event_cut_by_the_end_is_dropped() -> None:
    assert events([b'data: {"a":1}\n\ndata: {"b"']) == [("message", b'{"a":1}')]


def test_lines_at_every_cut() -> None:
    body = b'\n{"a":1}\r\n  \n {"b":2}\n{"c":3}'
    for n in range(len(body)):
        reader = JsonLines()
        found = reader.feed(body[:n]) + reader.feed(body[n:]) + reader.end()
        assert found == [b'{"a":1}', b' {"b":2}', b'{"c":3}']


def test_a_line_without_end_is_refused() -> None:
    for reader in (Events(), JsonLines()):
        for _ in range(16):
            assert reader.feed(b"x" * 1024 * 1024) == []
        with pytest.raises(EngineProtocolError):
            reader.feed(b"x")
