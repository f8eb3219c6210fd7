"""A native stream read across any number of connections, cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.client._reading import Reading
from penstock.core.errors import EngineProtocolError
from penstock.core.events import Done, Entry, Seq, Start, TextDelta
from penstock.wire import native, sse

ENTRIES = [
    Entry(Seq(1), 0, Start(stream="s", asked="m", binding="b", model="m", created=1)),
    *(Entry(Seq(2 + n), n, TextDelta(part=1, text=f"é{n}\n")) for n in range(6)),
    Entry(Seq(8), 9, Done(reason="stop")),
]


def wire(entries: list[Entry]) -> bytes:
    return sse.frame(native.frames(entries), [str(entry.seq) for entry in entries])


@given(cuts=st.lists(st.integers(0, 2000), max_size=6))
def test_however_it_is_cut_each_entry_comes_once(cuts: list[int]):
    """At every cut the connection breaks; the server goes on after the cursor."""
    reading = Reading("s")
    got: list[Entry] = []
    for cut in cuts:
        reading.reconnected()
        got += reading.feed(wire(ENTRIES[int(reading.params["after"]) :])[:cut])
    reading.reconnected()
    got += reading.feed(wire(ENTRIES[int(reading.params["after"]) :]))
    assert got == ENTRIES
    assert reading.finished
    assert reading.after == 8


def test_the_last_event_is_asked_for_again_where_nothing_followed():
    reading = Reading("s", Seq(8))
    assert reading.params == {"after": "7"}
    assert reading.feed(wire(ENTRIES[7:])) == []
    assert reading.finished


def test_one_event_a_connection_is_enough_to_go_on():
    reading = Reading("s")
    got: list[Entry] = []
    for _ in range(8):
        reading.reconnected()
        asked = int(reading.params["after"])
        got += reading.feed(wire(ENTRIES[asked : asked + 1]))
    assert got == ENTRIES


def test_what_was_read_before_is_dropped_and_a_gap_is_an_error():
    reading = Reading("s", Seq(3))
    assert reading.feed(wire(ENTRIES[:4])) == ENTRIES[3:4]
    with pytest.raises(EngineProtocolError, match="event 8 came after event 4"):
        reading.feed(wire(ENTRIES[7:]))


def test_an_event_of_a_later_version_is_skipped_and_remembered():
    reading = Reading("s", Seq(1))
    data = b'data: {"seq":2,"ms":0,"event":{"type":"hologram","x":1}}\n\n'
    assert reading.feed(data) == []
    assert reading.after == 2
    assert not reading.finished


def test_heartbeats_are_nothing_and_nonsense_is_an_error():
    reading = Reading("a/b")
    assert reading.path == "/streams/a%2Fb"
    assert reading.feed(sse.HEARTBEAT + sse.HEARTBEAT_WITH_IDS) == []
    with pytest.raises(EngineProtocolError):
        reading.feed(b"data: {nonsense\n\n")
