"""How fast each dialect renders entries to bytes on the wire."""

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Final

from benchmarks.logs import REQUEST, now_ms, tokens
from benchmarks.results import Figure
from penstock import registry
from penstock.core.events import Done, Entry, Seq, Start
from penstock.core.ports import Dialect
from penstock.transports.http.streaming import Framer, native_frame

ENTRIES: Final = 20_000
TURNS: Final = 7
Render = Callable[[Sequence[Entry]], bytes]


def measure() -> Iterator[Figure]:
    """Events a second per dialect: ten to a write, and one to a write."""
    entries = _stream()
    for batch in (10, 1):
        batches = [entries[at : at + batch] for at in range(0, len(entries), batch)]
        for name in sorted(registry.names("dialects")):
            dialect: Dialect = registry.load("dialects", name).Dialect()
            if not any(route.operation == "generate" for route in dialect.routes):
                continue
            rate = median(_rate(_renderer(dialect), batches) for _ in range(TURNS))
            yield Figure(name=f"encode.{name}.by{batch}.events_s", value=rate, unit="/s")
        rate = median(_rate(native_frame, batches) for _ in range(TURNS))
        yield Figure(name=f"encode.native.by{batch}.events_s", value=rate, unit="/s")


def _stream() -> list[Entry]:
    start = Start(stream="s", asked="mock", binding="mock", model="mock", created=now_ms())
    events = [start, *tokens(ENTRIES), Done(reason="stop")]
    return [Entry(Seq(n), n, event) for n, event in enumerate(events, 1)]


def _renderer(dialect: Dialect) -> Render:
    return Framer(dialect.opening(REQUEST).framing, dialect.encoder(REQUEST), "s", None)


def _rate(render: Render, batches: Sequence[Sequence[Entry]]) -> float:
    begun = time.process_time()
    for batch in batches:
        render(batch)
    return sum(map(len, batches)) / (time.process_time() - begun)
