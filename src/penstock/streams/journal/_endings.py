"""Streams that end without their run: the process died, or the log could not be written."""

from typing import Final

from penstock.core.events import Event, Failed, Seq, Start
from penstock.streams.journal._live import Live
from penstock.streams.journal.recovery import Found

INTERRUPTED: Final = Failed(
    code="interrupted",
    message="the process that wrote this stream ended before it was whole",
    retryable=True,
)
UNWRITTEN: Final = Failed(
    code="log_unavailable",
    message="the stream log could not be written; this stream is not whole",
    retryable=True,
)


def closing(live: Live) -> list[Event]:
    """The events that make a stream whole in form: its own `Start` if it has none, and `Failed`."""
    failed = UNWRITTEN if live.head else INTERRUPTED
    if live.seq:
        return [failed]
    info = live.info
    start = Start(
        stream=info.stream,
        asked=info.model,
        binding=info.binding,
        model=info.model,
        created=info.created,
    )
    return [start, failed]


def adopted(found: Found) -> Live:
    """A stream that a dead process left open, as one of ours that is about to be closed."""
    live = Live(found.info, None)
    live.head_logged = True
    live.handed = live.seq = Seq(found.events)
    live.began = found.began
    live.last = found.last
    live.bytes = found.bytes
    live.runs = found.runs
    live.blobs = found.blobs
    return live
