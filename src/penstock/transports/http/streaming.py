"""Entries to a streamed body: batches, heartbeats, endings.

One batch of the log is one write, or several where a dialect's clients need small ones. There is
no task, lock or timer per batch: silence is watched by one timer per response, which a write only
makes a note for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import groupby
from types import TracebackType
from typing import Final, NamedTuple, Self

from penstock.core.errors import from_code
from penstock.core.events import TERMINAL, Entry, Failed, Progress, Start
from penstock.core.ports import Encoder, FramingName, Opening, Shown
from penstock.gateway.rendering import Cursor, event_id, render, render_after
from penstock.transports.http.protocol import AbortedResponseError, Connection
from penstock.transports.http.visits import Headers, Visit
from penstock.wire import native, ndjson, sse

Take = Callable[[], Awaitable[Sequence[Entry]]]
Frame = Callable[[Sequence[Entry]], bytes]
Fill = Callable[[bytes, Sequence[Shown]], bytes]
Flow = Callable[[Callable[[Sequence[Entry]], bool]], Awaitable[None]]

_QUIET: Final = frozenset({Start, Progress})
SLICE: Final = 512
"""Most entries rendered at a time: bounds the memory of a slow reader and the others' wait."""
_CHUNK: Final = 16
"""Bytes at most that chunked coding puts around a short write, the end of the body included."""


class Heartbeat:
    """Writes `data` whenever nothing else was written for `seconds`."""

    def __init__(self, connection: Connection, seconds: float, data: bytes) -> None:
        self._connection = connection
        self._seconds = seconds
        self._data = data
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._timer = self._loop.call_later(self._seconds, self._tick)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def touch(self) -> None:
        """Something was written."""
        self._last = self._loop.time()

    def _tick(self) -> None:
        now = self._loop.time()
        # A timer may fire a little early by the loop's cached time.
        if now - self._last >= self._seconds * 0.999:
            self._connection.beat(self._data)
            self._last = now
        self._timer = self._loop.call_at(self._last + self._seconds, self._tick)


class Framer:
    """A dialect's frames as bytes. With `after`, only later ones, and each with its `id:`."""

    def __init__(
        self,
        framing: FramingName,
        encoder: Encoder,
        stream: str,
        after: Cursor | None,
        fill: Fill | None = None,
    ) -> None:
        self._encoder = encoder
        self._fill = fill
        self._stream = stream
        self._after = after
        self._sse = framing == "sse"

    @property
    def content_type(self) -> bytes:
        """Of the response."""
        return (sse.CONTENT_TYPE if self._sse else ndjson.CONTENT_TYPE).encode()

    @property
    def heartbeat(self) -> bytes:
        """What silence is broken by."""
        if not self._sse:
            return ndjson.HEARTBEAT
        return sse.HEARTBEAT if self._after is None else sse.HEARTBEAT_WITH_IDS

    def __call__(self, entries: Sequence[Entry]) -> bytes:
        if self._after is None:
            frames = render(self._encoder, entries)
            data = sse.frame(frames) if self._sse else ndjson.frame(frames)
        else:
            numbered = render_after(self._encoder, entries, self._after)
            frames = [frame for _, frame in numbered]
            if self._sse:
                ids = [event_id(self._stream, cursor) for cursor, _ in numbered]
                data = sse.frame(frames, ids)
            else:
                data = ndjson.frame(frames)
        if self._fill is None:
            return data
        return self._fill(data, [shown for frame in frames for shown in frame.pictures])


def native_frame(entries: Sequence[Entry]) -> bytes:
    """Entries as our own protocol sends them: the seq is the id."""
    return sse.frame(native.frames(entries), [str(entry.seq) for entry in entries])


class Paced:
    """Takes with the gaps of the recording, divided by `speed`."""

    def __init__(self, take: Take, speed: float) -> None:
        self._take = take
        self._speed = speed
        self._begun: float | None = None
        self._groups: Iterator[list[Entry]] = iter(())

    async def take(self) -> Sequence[Entry]:
        """The entries of the next moment of the recording, at that moment."""
        group = next(self._groups, None)
        if group is None:
            entries = await self._take()
            self._groups = iter([list(found) for _, found in groupby(entries, lambda e: e.ms)])
            group = next(self._groups, None)
            if group is None:
                return ()
        loop = asyncio.get_running_loop()
        moment = group[0].ms / 1000 / self._speed
        if self._begun is None:
            self._begun = loop.time() - moment
        await asyncio.sleep(max(0.0, self._begun + moment - loop.time()))
        return group


class Source(NamedTuple):
    """Where a reply's entries come from; `flow` is `None` where each has to be taken."""

    take: Take
    flow: Flow | None


async def stream_reply(
    visit: Visit,
    source: Source,
    frame: Framer,
    opening: Opening,
    opening_seconds: float | None,
    beat: float,
) -> None:
    """Streams a reply. Raises its failure instead when nothing was said before it.

    The headers leave with the first batch, at the latest after `opening_seconds`; at once when that
    is `None`. `beat` is the longest silence in seconds.
    """
    first: Sequence[Entry] | None = None
    if opening_seconds is not None:
        try:
            async with asyncio.timeout(opening_seconds):
                first = await source.take()
        except TimeoutError:
            pass
    if first is not None:
        _raise_stillborn(first)
    headers: Headers = [
        (name.lower().encode(), value.encode()) for name, value in opening.headers.items()
    ]
    await start_stream(visit, frame.content_type, headers)
    if opening.most_bytes:
        await visit.write(b"")  # The head in a write of its own.
    with Heartbeat(visit.connection, beat, frame.heartbeat) as heart:
        if first is None:
            first = await source.take()
        pump = Pump(
            visit,
            frame,
            heart,
            abort_on_failure=opening.abort_on_failure,
            most_bytes=opening.most_bytes,
        )
        await pump.run(source.take, first, None if opening.most_bytes else source.flow)


async def start_stream(visit: Visit, content_type: bytes, headers: Headers) -> None:
    """The headers of every stream. No proxy may buffer or cache it."""
    await visit.start(
        200,
        [
            (b"content-type", content_type),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
            *headers,
        ],
    )


class Pump:
    """Writes what is taken until the stream ends."""

    def __init__(
        self,
        visit: Visit,
        frame: Frame,
        heart: Heartbeat,
        *,
        abort_on_failure: bool,
        most_bytes: int = 0,
    ) -> None:
        self._visit = visit
        self._frame = frame
        self._heart = heart
        self._abort_on_failure = abort_on_failure
        self._push = visit.connection.push
        self._unsent = b""
        self._left: Sequence[Entry] = ()
        self._most = most_bytes - _CHUNK if most_bytes else 0

    async def run(self, take: Take, entries: Sequence[Entry], flow: Flow | None = None) -> None:
        """To the terminal, beginning with `entries`. With `flow`, most is written as it is logged.

        Raises `AbortedResponseError` after a failure that a clean end would hide.
        """
        visit, frame, touch = self._visit, self._frame, self._heart.touch
        most = self._most
        push = self._push
        while entries:
            if len(entries) > SLICE:
                entries = await self._in_slices(entries)
            last = entries[-1].event
            data = frame(entries)
            if most and len(data) > most:
                data = await self._all_but_the_last(data)
            if isinstance(last, TERMINAL):
                await self._end(last, data)
                return
            if data:
                if not push(data):
                    await visit.write(data)
                touch()
                if most:
                    await asyncio.sleep(0)  # the loop joins what one of its turns wrote
            entries = await (take() if flow is None else self._next(take, flow))
        await visit.finish(b"")

    async def _next(self, take: Take, flow: Flow) -> Sequence[Entry]:
        """What comes next that could not be written within the turn that logged it."""
        await flow(self._at_once)
        if self._unsent:
            data, self._unsent = self._unsent, b""
            await self._visit.write(data)
            self._heart.touch()
        if self._left:
            left, self._left = self._left, ()
            return left
        return await take()

    def _at_once(self, entries: Sequence[Entry]) -> bool:
        """Writes a batch; false when the rest must wait: for the client, or for an end."""
        if type(entries[-1].event) in TERMINAL or len(entries) > SLICE:
            self._left = entries
            return False
        data = self._frame(entries)
        if data:
            if not self._push(data):
                self._unsent = data
                return False
            self._heart.touch()
        return True

    async def _in_slices(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Writes all but the last slice."""
        last = (len(entries) - 1) // SLICE * SLICE
        for begin in range(0, last, SLICE):
            data = self._frame(entries[begin : begin + SLICE])
            if self._most and len(data) > self._most:
                data = await self._all_but_the_last(data)
            await self._visit.write(data)
            self._heart.touch()
            await asyncio.sleep(0)
        return entries[last:]

    async def _all_but_the_last(self, data: bytes) -> bytes:
        """Writes whole events in short writes, and returns the last of these writes."""
        *pieces, last = whole_events(data, self._most)
        for piece in pieces:
            if not self._push(piece):
                await self._visit.write(piece)
            await asyncio.sleep(0)  # the loop joins what one of its turns wrote
        return last

    async def _end(self, last: object, data: bytes) -> None:
        if isinstance(last, Failed) and self._abort_on_failure:
            await self._visit.write(data)
            raise AbortedResponseError
        await self._visit.finish(data)


def whole_events(data: bytes, most: int) -> Iterator[bytes]:
    """The body of a stream in pieces of `most` bytes, cut after whole events only: an event that is
    longer by itself is a piece of its own. SSE's end of an event is a blank line, NDJSON's a line.
    """
    end = b"\n\n" if data.endswith(b"\n\n") else b"\n"
    begin = 0
    while len(data) - begin > most:
        at = data.rfind(end, begin, begin + most)
        if at < 0:
            at = data.find(end, begin)
        yield data[begin : at + len(end)]
        begin = at + len(end)
    if begin < len(data):
        yield data[begin:]


def _raise_stillborn(entries: Sequence[Entry]) -> None:
    """A failure before anything was said is still an HTTP error."""
    events = [entry.event for entry in entries]
    if events and isinstance(events[-1], Failed) and all(type(e) in _QUIET for e in events[:-1]):
        failed = events[-1]
        raise from_code(failed.code, failed.message, failed.param)
