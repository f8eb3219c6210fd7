"""Which request is another one once more, and who waits for whom."""

import asyncio

import pytest

from penstock.transports.mqtt.ledger import Changes, Ledger, Lines, Rates
from penstock.transports.mqtt.shapes import Note


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def note(key: str, *, given: bool = True, session: str = "s", request: str = "r") -> Note:
    return Note(project="p", session=session, request=request, key=key, reply="p/x/s", given=given)


def test_a_request_id_is_known_for_long_and_a_payload_for_a_minute() -> None:
    clock = Clock()
    ledger = Ledger(clock)
    named = ledger.add(note("s/r"))
    nameless = ledger.add(note("hash", given=False, request="made"))
    clock.now += 59
    assert ledger.find(note("hash", given=False)) is nameless
    clock.now += 2
    assert ledger.find(note("hash", given=False)) is None
    assert ledger.find(note("s/r")) is named
    assert ledger.named("p", "r") is named
    assert ledger.named("other", "r") is None


def test_what_was_refused_may_be_tried_again() -> None:
    ledger = Ledger(Clock())
    ledger.forget(ledger.add(note("s/r")))
    assert ledger.find(note("s/r")) is None
    assert ledger.named("p", "r") is None


def test_a_session_that_begins_anew_hears_the_same_words_as_new_ones() -> None:
    ledger = Ledger(Clock())
    said = ledger.add(note("hash", given=False, request="made"))
    other = ledger.add(note("hash2", given=False, session="t", request="made2"))
    named = ledger.add(note("s/r"))
    ledger.begin_anew("p", "s")
    assert ledger.find(said.note) is None
    assert ledger.find(other.note) is other
    assert ledger.find(named.note) is named
    ledger.begin_anew("p", "")
    assert ledger.find(other.note) is None


async def test_one_at_a_time_in_a_session_in_the_order_of_coming() -> None:
    lines, order = Lines(), list[str]()

    async def turn(session: str, name: str) -> None:
        async with lines.enter("p", session):
            order.append(f"+{name}")
            await asyncio.sleep(0.01)
            order.append(f"-{name}")

    await asyncio.gather(turn("s", "1"), turn("s", "2"), turn("s", "3"), turn("t", "x"))
    assert [one for one in order if "x" not in one] == ["+1", "-1", "+2", "-2", "+3", "-3"]
    assert order.index("+x") < order.index("-1")
    assert not lines._locks  # Nobody waits any more, so nothing is kept.


async def test_who_gives_up_waiting_leaves_the_line() -> None:
    lines = Lines()
    async with lines.enter("p", "s"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), lines.enter("p", "s"):
                raise AssertionError("two at a time")
    assert not lines._locks


def test_a_limit_by_the_minute_is_of_each_session() -> None:
    clock = Clock()
    rates = Rates(2, clock)
    assert rates.wait("p", "s") is None
    clock.now += 10
    assert rates.wait("p", "s") is None
    assert rates.wait("p", "s") == 50
    assert rates.wait("p", "t") is None
    clock.now += 50
    assert rates.wait("p", "s") is None
    assert rates.wait("p", "s") == 10
    assert Rates(0, clock).wait("p", "s") is None


async def test_what_is_said_after_a_change_waits_for_it() -> None:
    changes, order = Changes(), list[str]()

    async def change() -> None:
        async with changes.one("p"):
            await asyncio.sleep(0.01)
            order.append("changed")

    async def say(project: str) -> None:
        await changes.passed(project)
        order.append(project)

    await asyncio.gather(change(), say("p"), say("q"))
    assert order == ["q", "changed", "p"]
