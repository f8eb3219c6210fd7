"""Server-sent events: what we write, and what we read by the HTML standard's rules."""

import pytest

from penstock.core.ports import Frame
from penstock.wire import ndjson, sse
from penstock.wire.lines import Lines


def read(data: bytes) -> list[tuple[str, bytes, str]]:
    lines, decoder = Lines(), sse.Decoder()
    events = [event for line in lines.feed(data) for event in decoder.feed(line)]
    return [(event.event, event.data, event.id) for event in events]


def test_frames_are_one_data_line_each():
    frames = [Frame(b"{}"), Frame(b"[1]", "ping")]
    assert sse.frame(frames) == b"data: {}\n\nevent: ping\ndata: [1]\n\n"
    assert sse.frame(frames[:1], ["7"]) == b"id: 7\ndata: {}\n\n"
    assert ndjson.frame(frames) == b"{}\n[1]\n"


# The examples of "Interpreting an event stream" in the HTML standard, section 9.2.6.
@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", b"YHOO\n+2\n10", "")]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\n"
            b"data:second event\nid\n\ndata:  third event\n\n",
            [
                ("message", b"first event", "1"),
                ("message", b"second event", ""),
                ("message", b" third event", ""),
            ],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [("message", b"", ""), ("message", b"\n", "")]),
        (b"data:test\n\ndata: test\n\n", [("message", b"test", "")] * 2),
        (
            b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n",
            [
                ("add", b"73857293", ""),
                ("remove", b"2153", ""),
            ],
        ),
        (b"data: a\r\n\r\ndata: b\r\r", [("message", b"a", ""), ("message", b"b", "")]),
        (b": ping\n\nid: 5\n\nretry: 10\n\nevent: x\n\n", []),
        (b"id: 4\0\ndata: x\n\n", [("message", b"x", "")]),
    ],
)
def test_reading(data: bytes, events: list[tuple[str, bytes, str]]):
    assert read(data) == events


def test_a_heartbeat_between_events_is_nothing():
    assert read(b"data: 1\n\n" + sse.HEARTBEAT + b"data: 2\n\n") == read(b"data: 1\n\ndata: 2\n\n")
    with_ids = b"id: 1\ndata: 1\n\n" + sse.HEARTBEAT_WITH_IDS + b"id: 2\ndata: 2\n\n"
    assert [event[2] for event in read(with_ids)] == ["1", "2"]


def test_retry_is_noted():
    decoder = sse.Decoder()
    assert list(decoder.feed(b"retry: 2500")) == []
    assert decoder.retry_ms == 2500
