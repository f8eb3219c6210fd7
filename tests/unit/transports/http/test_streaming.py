"""Short writes: whole events only, whatever their lengths."""

import pytest

from penstock.transports.http.streaming import whole_events


def event(size: int) -> bytes:
    return b"data: " + b"x" * (size - 8) + b"\n\n"


@pytest.mark.parametrize("most", [10, 64, 1000])
def test_pieces_hold_whole_events(most: int):
    sizes = [10, 10, 12, 63, 64, 65, 9, 300, 8, 1001, 20, 20]
    events = [event(size) for size in sizes]
    pieces = list(whole_events(b"".join(events), most))
    assert b"".join(pieces) == b"".join(events)
    for piece in pieces:
        assert piece.startswith(b"data: ")
        assert piece.endswith(b"\n\n")
        assert len(piece) <= most or piece in events


def test_pieces_are_as_long_as_they_may_be():
    assert list(whole_events(event(30) * 5, 65)) == [event(30) * 2, event(30) * 2, event(30)]


def test_lines_are_events_of_ndjson():
    lines = b'{"a":1}\n{"b":22}\n{"c":333}\n'
    assert list(whole_events(lines, 9)) == [b'{"a":1}\n', b'{"b":22}\n', b'{"c":333}\n']


def test_a_line_of_an_event_with_an_id_is_not_cut_off():
    numbered = b"id: s@1.0\ndata: aaaa\n\n" * 3
    assert list(whole_events(numbered, 25)) == [b"id: s@1.0\ndata: aaaa\n\n"] * 3
