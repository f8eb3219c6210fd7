"""Whatever happens to its connections, a client has exactly the log: no event lost, none twice."""

import random
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import get_args

import pytest
from tests.integration.client.conftest import recording
from tests.integration.client.fault_proxy import Fault, FaultProxy
from tests.integration.serving import Serving, free_port

from penstock import AsyncClient, Client, TextDelta, Timeouts
from penstock.client.sync import Api
from penstock.core import errors
from penstock.core.events import Entry

FAULTS = get_args(Fault)
TEXT = "".join(event.text for event in recording() if isinstance(event, TextDelta))
QUICK = 0.04
"""Seconds of silence: a stalled connection is left soon."""


@contextmanager
def between(server: Serving, fault: Fault, **more: int | random.Random) -> Iterator[FaultProxy]:
    with closing(FaultProxy(server.port, fault, **more)) as proxy:  # type: ignore[arg-type]
        yield proxy


def silence(fault: Fault) -> float:
    return QUICK if fault == "stall" else 10.0


def of_the_log(server: Serving, stream: str) -> list[Entry]:
    with Client(server.url) as client, client.resume(stream) as kept:
        return list(kept.entries())


@pytest.mark.parametrize("fault", FAULTS)
async def test_async_each_fault_at_each_event(server: Serving, fault: Fault):
    with between(server, fault) as proxy:
        async with (
            AsyncClient(proxy.url, silence=silence(fault), patience=30) as client,
            client.stream("Go", model="played/long") as stream,
        ):
            entries = [entry async for entry in stream.entries()]
    assert entries == of_the_log(server, stream.id)
    assert [e.seq for e in entries] == list(range(1, 201))
    assert "".join(e.event.text for e in entries if isinstance(e.event, TextDelta)) == TEXT
    assert proxy.faults >= (199 if fault != "dribble" else 1)


@pytest.mark.parametrize("fault", FAULTS)
def test_sync_each_fault_at_each_event(server: Serving, fault: Fault):
    with (
        between(server, fault) as proxy,
        Client(proxy.url, silence=silence(fault), patience=30) as client,
        client.stream("Go", model="played/long") as stream,
    ):
        entries = list(stream.entries())
    assert entries == of_the_log(server, stream.id)
    assert [e.seq for e in entries] == list(range(1, 201))
    assert "".join(e.event.text for e in entries if isinstance(e.event, TextDelta)) == TEXT
    assert proxy.faults >= (199 if fault != "dribble" else 1)


def test_a_question_whose_connection_is_cut_is_asked_again(server: Serving):
    with (
        between(server, "drop", events=1000, cut_posts=2) as proxy,
        Client(proxy.url) as client,
        client.stream("Go", model="played/long") as stream,
    ):
        assert "".join(stream.text()) == TEXT
    assert sum(head.startswith(b"POST") for head in proxy.requests) == 3


def test_a_turn_of_a_session_is_never_said_twice(server: Serving):
    with (
        between(server, "drop", events=1000, cut_posts=1) as proxy,
        Client(proxy.url) as client,
        pytest.raises(errors.UnavailableError, match="was cut"),
    ):
        client.session("once").generate("Go", model="played/long")
    assert sum(head.startswith(b"POST") for head in proxy.requests) == 1


def test_patience_ends(server: Serving):
    """Connections are taken, and nothing useful ever comes."""
    with (
        between(server, "drop", events=0) as proxy,
        Client(proxy.url, patience=0.4) as client,
        client.stream("Go", model="played/long") as stream,
        pytest.raises(errors.UnavailableError, match=r"was (cut|closed)"),
    ):
        list(stream)
    assert proxy.faults > 2


async def test_nobody_there_is_said_at_once():
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url) as client, pytest.raises(errors.UnavailableError, match="running there"):
        client.generate("Hi")
    async with AsyncClient(url) as aclient:
        with pytest.raises(errors.UnavailableError, match="running there"):
            await aclient.generate("Hi")


def test_heartbeats_do_not_hide_a_silent_model(server: Serving):
    """The stalled proxy passes the start and no token; connections are renewed, the clock runs."""
    times = Timeouts(first_token=0.3, between_tokens=0.3)
    with (
        between(server, "stall", events=0) as proxy,
        Client(proxy.url, timeouts=times, silence=10, patience=10) as client,
        client.stream("Go", model="played/long") as stream,
        pytest.raises(errors.EngineTimeoutError, match="raise the timeout"),
    ):
        list(stream)
    assert proxy.faults == 1


@pytest.mark.parametrize("api", ["penstock", "openai"])
def test_a_slow_reader_is_not_a_slow_server(server: Serving, api: Api):
    """Each pause is longer than every clock."""
    times = Timeouts(first_token=0.2, between_tokens=0.2)
    got: list[str] = []
    with (
        Client(server.url, api=api, timeouts=times, silence=0.2, patience=0.2) as client,
        client.stream("Go", model="played/long") as stream,
    ):
        time.sleep(0.3)
        for text in stream.text():
            got.append(text)
            if len(got) in (1, 90):
                time.sleep(0.3)
    assert "".join(got) == TEXT


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_a_thousand_random_drops(server: Serving):
    lucky = random.Random(7)
    faults = 0
    while faults < 1000:
        with between(server, "drop", lucky=lucky) as proxy:
            async with (
                AsyncClient(proxy.url) as client,
                client.stream("Go", model="played/long") as stream,
            ):
                assert "".join([text async for text in stream.text()]) == TEXT
            faults += proxy.faults


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_thousand_random_drops_of_the_other_face(server: Serving):
    lucky = random.Random(11)
    faults = 0
    while faults < 1000:
        with between(server, "drop", lucky=lucky) as proxy:
            with Client(proxy.url) as client, client.stream("Go", model="played/long") as stream:
                assert "".join(stream.text()) == TEXT
            faults += proxy.faults
