"""The terminal's side of the bridge, without a broker."""

import asyncio

import pytest

from penstock.config._mqtt import Mqtt
from penstock.core.events import Entry, Seq, TextDelta
from penstock.transports.mqtt.asker import Asker
from penstock.wire import json


@pytest.mark.parametrize("turns", range(6))
async def test_who_is_behind_with_reading_can_still_be_stopped(turns: int):
    """Whatever the loop is just about when the cancellation comes."""
    asker = Asker(Mqtt(url="mqtt://127.0.0.1"), "general", "s")
    for n in range(1, 1001):
        entry = Entry(Seq(n), n, TextDelta(part=1, text="x"))
        asker._came.put_nowait(json.encode(entry))
    read = 0

    async def reading() -> None:
        nonlocal read
        async for _ in asker._entries("r", 60.0):
            read += 1
            await asyncio.sleep(0)

    task = asyncio.get_running_loop().create_task(reading())
    for _ in range(100 + turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 10 < read < 110
