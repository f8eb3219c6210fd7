"""How fast each dialect renders entries to bytes on the wire."""

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Final

from benchmarks.logs import REQUEST, now_ms, tokens
from benchmarks.results import Figure
from penstock import registry
from penstock.core.events import Blob, Done, Entry, Event, Progress, Seq, Start
from penstock.core.ports import Dialect
from penstock.core.request import ImageAsk, Request
from penstock.transports.http.streaming import Framer, native_frame

ENTRIES: Final = 20_000
TURNS: Final = 7
DRAWING: Final = Request(messages=REQUEST.messages, image=ImageAsk(previews=3), stream=True)
Render = Callable[[Sequence[Entry]], bytes]


def measure() -> Iterator[Figure]:
    """Events a second per dialect: ten to a write, and one to a write.

    Tokens, or the steps of pictures for a dialect that has no words for tokens. What a place for a
    picture is filled with is not in it.
    """
    entries = _stream(tokens(ENTRIES))
    steps = _stream([_step(n) for n in range(1, ENTRIES + 1)])
    for batch in (10, 1):
        batches = [entries[at : at + batch] for at in range(0, len(entries), batch)]
        drawn = [steps[at : at + batch] for at in range(0, len(steps), batch)]
        for name in sorted(registry.names("dialects")):
            dialect: Dialect = registry.load("dialects", name).Dialect()
            if not any(route.operation == "generate" for route in dialect.routes):
                continue
            asked, said = REQUEST, batches
            if not any(map(_renderer(dialect, asked), batches)):
                asked, said = DRAWING, drawn
            rate = median(_rate(_renderer(dialect, asked), said) for _ in range(TURNS))
            yield Figure(name=f"encode.{name}.by{batch}.events_s", value=rate, unit="/s")
        rate = median(_rate(native_frame, batches) for _ in range(TURNS))
        yield Figure(name=f"encode.native.by{batch}.events_s", value=rate, unit="/s")


def _step(n: int) -> Event:
    preview = Blob(sha256="0" * 64, media_type="image/jpeg", size=900)
    return Progress(what="step", at=n, of=ENTRIES, preview=preview)


def _stream(said: Sequence[Event]) -> list[Entry]:
    start = Start(stream="s", asked="mock", binding="mock", model="mock", created=now_ms())
    events = [start, *said, Done(reason="stop")]
    return [Entry(Seq(n), n, event) for n, event in enumerate(events, 1)]


def _renderer(dialect: Dialect, request: Request) -> Render:
    return Framer(dialect.opening(request).framing, dialect.encoder(request), "s", None)


def _rate(render: Render, batches: Sequence[Sequence[Entry]]) -> float:
    begun = time.process_time()
    for batch in batches:
        render(batch)
    return sum(map(len, batches)) / (time.process_time() - begun)
