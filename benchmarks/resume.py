"""Resuming a stream of 10 000 events over HTTP, from a server as a user starts it."""

import http.client
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median
from typing import Final

from benchmarks.fleet import Cores, start
from benchmarks.logs import Clock
from benchmarks.processes import BenchError, free_ports
from benchmarks.programs import Mock
from benchmarks.results import Figure
from penstock.wire import json

EVENTS: Final = 10_000
TURNS: Final = 11
_HEADERS: Final = {"Authorization": "Bearer sk-test", "Content-Type": "application/json"}


def measure(cores: Cores) -> Iterator[Figure]:
    """First byte and events a second, medians."""
    with ExitStack() as stack:
        mock_port, port = free_ports(2)
        mock = stack.enter_context(Mock(mock_port, cores.load))
        start("penstock", port, mock, cores, stack)
        mock.set(burst=10)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        stack.callback(connection.close)
        stream = _generate(connection)
        found = [_follow(connection, stream) for _ in range(TURNS)]
    yield Figure(name="resume.http.first_ms", value=median(f for f, _ in found), unit="ms")
    yield Figure(name="resume.http.events_s", value=median(r for _, r in found), unit="/s")


def _generate(connection: http.client.HTTPConnection) -> str:
    message = {"role": "user", "content": "A long story."}
    body = json.encode(
        {"model": "mock", "stream": True, "max_tokens": EVENTS, "messages": [message]}
    )
    connection.request("POST", "/v1/chat/completions", body, _HEADERS)
    reply = connection.getresponse()
    said = reply.read()
    stream = reply.getheader("Penstock-Stream")
    if reply.status != 200 or stream is None or said.count(b'"content":"~') != EVENTS:
        raise BenchError(f"no stream of {EVENTS} events: {reply.status} {said[:200]!r}")
    return stream


def _follow(connection: http.client.HTTPConnection, stream: str) -> tuple[float, float]:
    begun = Clock()
    connection.request("GET", f"/v1/streams/{stream}?after=0", headers=_HEADERS)
    reply = connection.getresponse()
    parts = [reply.read1(65536)]
    first = Clock() - begun
    while part := reply.read1(262144):
        parts.append(part)
    whole = Clock() - begun
    events = b"".join(parts).count(b"\ndata: ")
    if reply.status != 200 or events < EVENTS:
        raise BenchError(f"{stream} has {events} of {EVENTS} events: status {reply.status}")
    return first * 1e3, events / whole
