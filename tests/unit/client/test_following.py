"""A kept stream over bad connections, with a clock and a server of paper."""

from collections.abc import Iterator, Mapping

import pytest

from penstock.client._address import Address
from penstock.client._following import Following
from penstock.client.steps import Open, Opened, Read, SilenceError, Sleep, Step, taken
from penstock.core import errors
from penstock.core.events import Done, Entry, Seq, Start, TextDelta
from penstock.core.ports import Timeouts
from penstock.wire import native, sse

ENTRIES = [
    Entry(Seq(1), 0, Start(stream="s", asked="m", binding="b", model="m", created=1)),
    Entry(Seq(2), 5, TextDelta(part=1, text="Hi")),
    Entry(Seq(3), 9, Done(reason="stop")),
]
CUT = errors.UnavailableError("the connection was cut")

Piece = tuple[float, bytes | Exception]
"""Seconds to wait, and what comes then."""


def wire(entries: list[Entry]) -> bytes:
    return sse.frame(native.frames(entries), [str(entry.seq) for entry in entries])


class Answer:
    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self.pieces = pieces

    def close(self) -> None:
        pass


class Server:
    """Each connection gives its pieces, then ends as if all were well."""

    def __init__(self, *connections: list[Piece], timeouts: Timeouts, patience: float) -> None:
        self.now = 100.0
        self.asked: list[str] = []
        self._connections = iter(connections)
        self.address = Address(
            "http://paper", None, {"timeouts": timeouts, "patience": patience, "silence": 30.0}
        )
        self.address.clock = lambda: self.now

    def take(self, step: Step) -> object:
        if isinstance(step, Open):
            self.asked.append(step.url.rpartition("?")[2])
            found: Opened = Answer(iter(next(self._connections)))
            return found
        if isinstance(step, Sleep):
            self.now += step.seconds
            return None
        assert isinstance(step, Read)
        assert isinstance(step.opened, Answer)
        seconds, said = next(step.opened.pieces, (0.0, b""))
        if seconds > step.seconds:
            self.now += step.seconds
            raise SilenceError
        self.now += seconds
        if isinstance(said, Exception):
            raise said
        return said

    def read(self, after: int = 0) -> list[Entry]:
        source = Following(self.address, "s", Seq(after))
        found: list[Entry] = []
        while entries := taken(source.take(), self.take):
            found += entries
        return found


BEATS: list[Piece] = [(10.0, sse.HEARTBEAT)] * 4


def test_a_model_that_thinks_long_over_connections_that_do_not_live_long():
    """Each connection is cut after 40 s of heartbeats; patience is for a server that is away."""
    connections: list[list[Piece]] = [[(0, wire(ENTRIES[:1])), *BEATS, (0, CUT)]] * 7
    connections += [[(0, wire(ENTRIES[1:]))]]
    server = Server(*connections, timeouts=Timeouts(first_token=600), patience=60)
    assert server.read() == ENTRIES
    assert server.now >= 100 + 7 * 40


def test_new_connections_do_not_give_a_silent_model_more_time():
    connections: list[list[Piece]] = [[(0, wire(ENTRIES[:1])), *BEATS, (0, CUT)]] * 9
    server = Server(*connections, timeouts=Timeouts(first_token=120), patience=60)
    with pytest.raises(errors.EngineTimeoutError, match="no first token within 120 s"):
        server.read()
    assert 100 + 120 <= server.now < 100 + 125


def test_a_server_that_takes_connections_and_cuts_them_is_borne_for_patience():
    connections: list[list[Piece]] = [[(0, wire(ENTRIES[:1])), (0, CUT)]] * 99
    server = Server(*connections, timeouts=Timeouts(), patience=20)
    with pytest.raises(errors.UnavailableError, match="was cut"):
        server.read()
    assert server.now <= 120
    assert len(server.asked) < 20


def test_silence_of_a_connection_is_not_the_models():
    """Without heartbeats it is dead: 30 s of it, then the stream goes on over a new one."""
    connections: list[list[Piece]] = [[(0, wire(ENTRIES[:2])), (99.0, b"")], [(99.0, b"")]]
    connections += [[(0, wire(ENTRIES[1:]))]]
    server = Server(*connections, timeouts=Timeouts(between_tokens=50), patience=60)
    assert server.read() == ENTRIES
    assert server.asked == ["after=0", "after=2", "after=1"]
