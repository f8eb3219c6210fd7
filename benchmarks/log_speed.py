"""How fast each log takes events in and gives them back, as fast as one loop can."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from benchmarks.logs import Clock, begin, opened, tokens
from benchmarks.results import Figure
from penstock.core.events import BEGINNING, Done, StreamId
from penstock.core.ports import StreamLog
from penstock.transports.http.streaming import native_frame

LONG: Final = 10_000
BATCH: Final = 10
STREAMS: Final = 64
BATCHES: Final = 200
VARIANTS: Final = ("memory", "journal-interval", "journal-always")


async def measure() -> AsyncIterator[Figure]:
    """Appending, replaying, and resuming a stream of 10 000 events from its beginning."""
    for variant in VARIANTS:
        async with opened(variant) as log:
            rate = await _append(log)
            yield Figure(name=f"append.{variant}.events_s", value=rate, unit="/s")
            stream = await _long_stream(log)
            rate = await _replay(log, stream)
            yield Figure(name=f"replay.{variant}.events_s", value=rate, unit="/s")
            first_ms, rate = await _resume(log, stream)
            yield Figure(name=f"resume.{variant}.first_ms", value=first_ms, unit="ms")
            yield Figure(name=f"resume.{variant}.events_s", value=rate, unit="/s")


async def _append(log: StreamLog) -> float:
    """64 streams in turn, ten events a batch, one batch of each a turn of the loop."""
    streams = [begin(log, f"append-{n}") for n in range(STREAMS)]
    batch = tokens(BATCH)
    begun = Clock()
    for _ in range(BATCHES):
        for stream in streams:
            log.append(stream, batch)
        await asyncio.sleep(0)
    for stream in streams:
        log.append(stream, [Done(reason="stop")])
        await log.settled(stream)
    return STREAMS * BATCHES * BATCH / (Clock() - begun)


async def _long_stream(log: StreamLog) -> StreamId:
    stream = begin(log, "long")
    for at in range(0, LONG, BATCH):
        log.append(stream, tokens(BATCH, at))
        await asyncio.sleep(0)
    log.append(stream, [Done(reason="stop")])
    await log.settled(stream)
    await asyncio.sleep(1.0)  # an ended stream has left the memory of its run by then
    return stream


async def _replay(log: StreamLog, stream: StreamId) -> float:
    begun, seen = Clock(), 0
    for _ in range(10):
        reader = log.reader(stream, BEGINNING)
        while entries := await reader.take():
            seen += len(entries)
        reader.close()
    return seen / (Clock() - begun)


async def _resume(log: StreamLog, stream: StreamId) -> tuple[float, float]:
    """From asking to the first rendered bytes in milliseconds, and events a second to the end."""
    reader = log.reader(stream, BEGINNING)
    begun, first, seen = Clock(), 0.0, 0
    while entries := await reader.take():
        for at in range(0, len(entries), 512):
            native_frame(entries[at : at + 512])
            first = first or Clock() - begun
        seen += len(entries)
    reader.close()
    return first * 1e3, seen / (Clock() - begun)
