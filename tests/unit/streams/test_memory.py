"""What only the log in memory can do wrong; the rest is in tests/contract/test_stream_logs.py."""

import tracemalloc
from pathlib import Path

from penstock.config.schema import Streams
from penstock.core.events import Done, Start, StreamId
from penstock.core.ports import Head
from penstock.core.request import Request
from penstock.streams.memory import Log, open_log


def begin(log: Log, n: int) -> StreamId:
    stream = StreamId(f"{n:032x}")
    log.create(
        Head(
            stream=stream,
            owner="me",
            dialect="native",
            created=n,
            binding="b",
            model="m",
            request=Request(model="m"),
            on_disconnect="finish",
            linger_seconds=1.0,
        )
    )
    return stream


async def test_a_new_stream_costs_the_same_whatever_is_kept(tmp_path: Path):
    log = await open_log(Streams(log="memory"), tmp_path, lambda: 0)
    for n in range(5_000):
        stream = begin(log, n)
        start = Start(stream=stream, asked="", binding="b", model="m", created=n)
        log.append(stream, [start, Done(reason="stop")])
    tracemalloc.start()
    try:
        begin(log, 5_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A list of all the streams alone would be 40 kB and more.
    assert peak < 20_000
    await log.aclose()
