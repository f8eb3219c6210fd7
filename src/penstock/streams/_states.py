"""How a stream stands after an event: the same in every log."""

from penstock.core.events import Done, Event, Failed
from penstock.core.ports import StreamState


def state_after(event: Event) -> StreamState:
    """`live` after everything but a terminal."""
    if isinstance(event, Done):
        return "cancelled" if event.reason == "cancelled" else "done"
    if isinstance(event, Failed):
        return "interrupted" if event.code == "interrupted" else "failed"
    return "live"
