"""Stream logs as the server opens them, and what the benchmarks put into them."""

import gc
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal, cast

import msgspec

from benchmarks.paths import subfolder
from penstock import registry
from penstock.config.schema import Streams
from penstock.core.events import Event, Start, StreamId, TextDelta
from penstock.core.messages import say
from penstock.core.ports import Head, StreamLog
from penstock.core.request import Request

REQUEST: Final = Request(
    model="mock",
    stream=True,
    messages=(
        say("system", "You are a helpful assistant."),
        say("user", "Tell me a story about a gateway that relays tokens quickly."),
    ),
)


class Variant(msgspec.Struct, frozen=True):
    """One log with one promise; otherwise the default settings."""

    log: Literal["memory", "journal"]
    sync: Literal["interval", "always", "off"] = "interval"


VARIANTS: Final = {
    "memory": Variant("memory"),
    "journal-interval": Variant("journal"),
    "journal-always": Variant("journal", "always"),
    "journal-off": Variant("journal", "off"),
}


@asynccontextmanager
async def opened(name: str, segment_bytes: int | None = None) -> AsyncIterator[StreamLog]:
    """A fresh log of this variant in a folder of its own, removed afterwards."""
    variant = VARIANTS[name]
    settings = Streams(log=variant.log, sync=variant.sync)
    if segment_bytes is not None:
        settings = msgspec.structs.replace(settings, segment_bytes=segment_bytes)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=subfolder("log")))
    log = registry.load("streams", variant.log).Log(settings, folder, now_ms)
    await log.open()
    try:
        yield cast("StreamLog", log)
    finally:
        await log.aclose()
        shutil.rmtree(folder)


def tune_gc() -> None:
    """As the server does once it has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)


def now_ms() -> int:
    """The clock of the log."""
    return time.time_ns() // 1_000_000


def begin(log: StreamLog, name: str) -> StreamId:
    """Creates a stream and hands over its `Start`."""
    created = now_ms()
    head = Head(
        stream=name,
        owner="bench",
        dialect="openai_chat",
        created=created,
        binding="mock",
        model="mock",
        request=REQUEST,
    )
    log.create(head)
    stream = StreamId(name)
    start = Start(stream=name, asked="mock", binding="mock", model="mock", created=created)
    log.append(stream, [start])
    return stream


def tokens(count: int, first: int = 0) -> list[Event]:
    """Deltas like a model's, a word or so each."""
    return [TextDelta(part=1, text=f"token number {n} ") for n in range(first, first + count)]


def written_bytes() -> int:
    """What this process has passed to `write` so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def quantile(ordered: list[float], q: float) -> float:
    """Of a sorted list; 0 when it is empty."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))] if ordered else 0.0


Clock: Final[Callable[[], float]] = time.perf_counter
