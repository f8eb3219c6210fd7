"""The token clocks."""

import asyncio

from penstock.core.ports import Timeouts
from penstock.gateway.deadlines import Deadline


async def test_silence_before_the_first_token_expires():
    expired = asyncio.Event()
    clock = Deadline(
        asyncio.get_running_loop(), Timeouts(first_token=0.02, between_tokens=60), expired.set
    )
    clock.start()
    await asyncio.wait_for(expired.wait(), 5)
    assert not clock.said


async def test_a_token_moves_the_clock_and_silence_after_it_expires():
    loop = asyncio.get_running_loop()
    expired: list[float] = []
    clock = Deadline(
        loop, Timeouts(first_token=60, between_tokens=0.1), lambda: expired.append(loop.time())
    )
    clock.start()
    last = loop.time()
    for _ in range(8):
        last = loop.time()
        clock.touch(last)
        await asyncio.sleep(0.03)
    assert expired == []
    while not expired:
        await asyncio.sleep(0.02)
    assert expired[0] - last >= 0.1
    assert clock.said


async def test_a_stopped_clock_never_expires():
    expired: list[int] = []
    clock = Deadline(
        asyncio.get_running_loop(),
        Timeouts(first_token=0.01, between_tokens=0.01),
        lambda: expired.append(1),
    )
    clock.start()
    clock.stop()
    await asyncio.sleep(0.05)
    assert expired == []
