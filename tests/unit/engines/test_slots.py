import asyncio

import pytest

from penstock.core.errors import OverloadedError
from penstock.engines._slots import Slots, Ticket


def slots(count: int, waiting: int) -> tuple[Slots, list[bool]]:
    idle: list[bool] = []
    return Slots(count, waiting, lambda: idle.append(True)), idle


async def test_first_come_first_served() -> None:
    line, idle = slots(1, 3)
    inside, *waiting = [line.enter() for _ in range(4)]
    assert [ticket.place for ticket in (inside, *waiting)] == [0, 1, 2, 3]
    inside.leave()
    assert [ticket.place for ticket in waiting] == [0, 1, 2]
    assert idle == []
    for ticket in waiting:
        ticket.leave()
        ticket.leave()
    assert line.idle
    assert idle == [True]


async def test_leaving_the_line_moves_those_behind() -> None:
    line, _ = slots(1, 3)
    inside, first, second, third = [line.enter() for _ in range(4)]
    second.leave()
    assert (first.place, third.place, line.waiting) == (1, 2, 2)
    inside.leave()
    assert (first.place, third.place) == (0, 1)


async def test_one_who_waits_hears_nothing_of_those_behind() -> None:
    line, _ = slots(1, 3)
    _, first, second = [line.enter() for _ in range(3)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), asyncio.TaskGroup() as group:
            group.create_task(first.moved(1))
            await asyncio.sleep(0)
            second.leave()


async def test_a_full_line_refuses() -> None:
    line, _ = slots(2, 1)
    tickets = [line.enter() for _ in range(3)]
    with pytest.raises(OverloadedError) as caught:
        line.enter()
    assert caught.value.retry_after is not None
    tickets[0].leave()
    assert line.enter().place == 1


async def test_one_who_waits_hears_of_every_move() -> None:
    line, _ = slots(1, 3)
    tickets = [line.enter() for _ in range(3)]
    last = tickets[-1]
    places: list[int] = []

    async def watch(ticket: Ticket) -> None:
        while place := ticket.place:
            places.append(place)
            await ticket.moved(place)

    async with asyncio.TaskGroup() as group:
        group.create_task(watch(last))
        await asyncio.sleep(0)
        for ticket in tickets[:2]:
            ticket.leave()
            await asyncio.sleep(0)
    assert places == [2, 1]


async def test_a_move_between_look_and_wait_is_not_missed() -> None:
    line, _ = slots(1, 1)
    inside, waiting = line.enter(), line.enter()
    place = waiting.place
    inside.leave()
    await asyncio.wait_for(waiting.moved(place), 5)
    assert waiting.place == 0
