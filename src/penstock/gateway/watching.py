"""Readers of live streams, and what happens to a run when the last of them is lost."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from penstock.core.events import TERMINAL, Entry, Seq, StreamId
from penstock.core.ports import Head, Reader, StreamLog
from penstock.gateway.metrics import Metrics


class Watched:
    """One live stream's readers. `abandon` stops the run."""

    __slots__ = ("_abandon", "_head", "_linger", "readers")

    def __init__(self, head: Head, abandon: Callable[[], object]) -> None:
        self._head = head
        self._abandon = abandon
        self._linger: asyncio.TimerHandle | None = None
        self.readers = 0

    def came(self) -> None:
        """A reader came, or came back."""
        self.readers += 1
        self.ended()

    def left(self, *, lost: bool) -> None:
        """A reader left. When the last one was lost, the stream's policy decides."""
        self.readers -= 1
        if self.readers or not lost:
            return
        match self._head.on_disconnect:
            case "finish":
                pass
            case "cancel":
                self._abandon()
            case "linger":
                loop = asyncio.get_running_loop()
                self._linger = loop.call_later(self._head.linger_seconds, self._abandon)

    def ended(self) -> None:
        """No timer runs any more."""
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None


class Returned:
    """A reader that comes back, as a `core.ports.Reader`. To one that has more than the log was
    left with when the power failed, the end is told under the next number, and nothing else.
    """

    def __init__(self, log: StreamLog, stream: StreamId, after: Seq) -> None:
        self._log = log
        self._stream = stream
        self._after = after
        self._reader = log.reader(stream, after)
        self._open = True
        self.flow = self._reader.flow

    async def take(self) -> Sequence[Entry]:
        """See the port."""
        found = await self._reader.take()
        if found or not self._open:
            return found
        self._open = False
        events = (await self._log.info(self._stream)).events
        return () if self._after <= events else await self._ending(events)

    async def _ending(self, events: int) -> Sequence[Entry]:
        reader = self._log.reader(self._stream, Seq(max(events - 1, 0)))
        try:
            last = [one for one in await reader.take() if isinstance(one.event, TERMINAL)]
        finally:
            reader.close()
        return [Entry(Seq(self._after + 1), one.ms, one.event) for one in last]

    def close(self) -> None:
        """See the port."""
        self._open = False
        self._reader.close()


def reader(log: StreamLog, stream: StreamId, after: Seq) -> Reader:
    """A reader of a log. Raises `UnknownStreamError`."""
    return Returned(log, stream, after) if after else log.reader(stream, after)


class Watch:
    """One reader of one stream, live or not. Exactly one of `lost` and `close` counts: the
    first. As a context manager it is closed in order, or lost when something is raised.
    """

    __slots__ = ("_metrics", "_open", "_reader", "_watched", "flow", "take")

    def __init__(self, reader: Reader, watched: Watched | None, metrics: Metrics) -> None:
        self._reader = reader
        self._watched = watched
        self._metrics = metrics
        self._open = True
        self.take = reader.take
        self.flow = reader.flow
        metrics.readers += 1
        if watched is not None:
            watched.came()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(lost=kind is not None)

    def lost(self) -> None:
        """The connection broke: the stream's policy applies."""
        self._leave(lost=True)

    def close(self) -> None:
        """The reader has all it wanted."""
        self._leave(lost=False)

    def _leave(self, *, lost: bool) -> None:
        if not self._open:
            return
        self._open = False
        self._reader.close()
        self._metrics.readers -= 1
        if self._watched is not None:
            self._watched.left(lost=lost)
