"""Server-sent events: frames to bytes, and lines to events by the rules of the HTML standard."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from penstock.core.ports import Frame

CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"

HEARTBEAT: Final = b": ping\n\n"
"""A comment block of its own: some clients read a comment in a data block as broken data."""

HEARTBEAT_WITH_IDS: Final = b": ping\n"
"""In a stream that sends `id:`: a blank line would make openai-python dispatch an empty event."""


def frame(frames: Iterable[Frame], cursors: Iterable[str] | None = None) -> bytes:
    """All frames as event blocks. `cursors`, one a frame, become `id:` lines."""
    if cursors is None:
        return b"".join([block(f) for f in frames])
    return b"".join(
        [b"id: " + c.encode() + b"\n" + block(f) for f, c in zip(frames, cursors, strict=True)]
    )


def block(f: Frame) -> bytes:
    """One frame. Its data holds no line end: it comes from `wire.json`."""
    if f.event is None:
        return b"data: " + f.data + b"\n\n"
    return b"event: " + f.event.encode() + b"\ndata: " + f.data + b"\n\n"


class ServerSentEvent(msgspec.Struct, frozen=True):
    """One received event. `event` is `message` unless the server said otherwise."""

    data: bytes
    event: str = "message"
    id: str = ""


class Decoder:
    """Feed it lines, get events. Comments are dropped, `data` lines are joined with LF."""

    def __init__(self) -> None:
        self._data: list[bytes] = []
        self._event = ""
        self._id = ""
        self.retry_ms: int | None = None

    def feed(self, line: bytes) -> Iterator[ServerSentEvent]:
        """The event that this line completes, if any. An event without data is none."""
        if not line:
            if self._data:
                yield ServerSentEvent(b"\n".join(self._data), self._event or "message", self._id)
            self._data = []
            self._event = ""
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit():
            self.retry_ms = int(value)
