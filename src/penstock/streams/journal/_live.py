"""One stream that this process writes, and the places of its readers."""

from asyncio import AbstractEventLoop, CancelledError, Future
from collections.abc import Callable, Sequence
from typing import Final

from penstock.core.errors import LogUnavailableError
from penstock.core.events import BEGINNING, Entry, Seq
from penstock.core.ports import Head, StreamInfo, StreamState
from penstock.streams.journal._records import BlobReference, Places

TAIL_ENTRIES: Final = 128
TAIL_BYTES: Final = 64 * 1024
"""What a stream keeps in memory for readers at its end. Whoever is further behind reads files."""


class Flow:
    """A reader at the end of a stream that is given what comes within the turn that logs it."""

    __slots__ = ("ended", "seq", "sink")

    def __init__(
        self, seq: int, sink: Callable[[Sequence[Entry]], bool], ended: Future[None]
    ) -> None:
        self.seq = seq
        self.sink = sink
        self.ended = ended

    def give(self, entries: Sequence[Entry], *, last: bool) -> bool:
        """Whether more is wanted. A reader's error is its own: nobody else may notice."""
        if self.ended.done():
            return False
        self.seq = entries[-1].seq
        try:
            wanted = self.sink(entries) and not last
        except Exception as error:  # noqa: BLE001 - raised where the reader waits
            self.ended.set_exception(error)
            return False
        if not wanted:
            self.ended.set_result(None)
        return wanted


class Live:
    """What the log knows of one stream from its creation until its end is in the index.

    `handed` counts what the run gave us, `seq` what is in the log: readers only ever see `seq`.
    `broken` says why something handed over never got there; nothing may follow it but the closing.
    `unshown` counts records that are written and wait for their sync.
    """

    __slots__ = (
        "began",
        "blobs",
        "broken",
        "bytes",
        "created",
        "ended",
        "erased",
        "flows",
        "handed",
        "head",
        "head_logged",
        "info",
        "last",
        "promised",
        "raw",
        "runs",
        "seq",
        "state",
        "tail",
        "tail_bytes",
        "unshown",
        "waiters",
    )

    def __init__(self, info: StreamInfo, head: Head | None) -> None:
        self.info = info
        self.raw = info.stream.encode()
        self.head = head
        self.head_logged = False
        self.handed: Seq = BEGINNING
        self.promised: StreamState = "live"
        self.seq: Seq = BEGINNING
        self.state: StreamState = "live"
        self.began: int | None = None
        self.last = info.created
        self.ended: int | None = None
        self.bytes = 0
        self.runs: list[Places] = []
        self.unshown = 0
        self.blobs: list[BlobReference] = []
        self.broken: LogUnavailableError | None = None
        self.erased = False
        self.tail: list[Entry] = []
        self.tail_bytes = 0
        self.waiters: list[Future[None]] = []
        self.flows: list[Flow] = []

    def place(self, segment: str, offset: int, size: int, first: int) -> None:
        """A record of ours lies there."""
        runs = self.runs
        if not runs or runs[-1].segment != segment:
            runs.append(Places(segment))
        runs[-1].add(offset, size, first)
        self.bytes += size

    def publish(self, entries: Sequence[Entry], size: int, state: StreamState) -> None:
        """These entries, or the head when there are none, are in the log now."""
        if not entries:
            self.head_logged = True
        else:
            self.seq = entries[-1].seq
            tail = self.tail
            tail += entries
            self.tail_bytes += size
            if len(tail) > TAIL_ENTRIES or self.tail_bytes > TAIL_BYTES:
                keep = min(TAIL_ENTRIES // 2, len(entries))
                del tail[:-keep]
                self.tail_bytes = size
            if state != "live":
                self.state = state
                self.ended = self.last
            if self.flows:
                self._flow(entries, last=state != "live")
        if self.waiters:
            self._wake_waiters()

    def _flow(self, entries: Sequence[Entry], *, last: bool) -> None:
        flows = self.flows
        self.flows = [flow for flow in flows if flow.give(entries, last=last)]
        if self.flows and not self.waiters:
            # As in `recent`: readers at the end have it, one that comes later reads the file.
            self.tail = []
            self.tail_bytes = 0

    def lose(self, error: LogUnavailableError) -> None:
        """What was handed over and is not in the log never will be."""
        self.broken = error
        self.handed = self.seq
        self.promised = "live"
        if self.seq == 0:
            self.began = None
        self.wake()

    @property
    def is_lost(self) -> bool:
        """Whether readers have been given all that will ever come before the closing."""
        return self.broken is not None and not self.unshown

    def wake(self) -> None:
        """Lets everybody look again who waits for this stream."""
        if self.flows:
            flows, self.flows = self.flows, []
            for flow in flows:
                if not flow.ended.done():
                    flow.ended.set_result(None)
        if self.waiters:
            self._wake_waiters()

    def _wake_waiters(self) -> None:
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def change(self, loop: AbstractEventLoop) -> None:
        """Returns after the next `wake`."""
        waiter = loop.create_future()
        self.waiters.append(waiter)
        try:
            await waiter
        except CancelledError:
            if waiter in self.waiters:
                self.waiters.remove(waiter)
            raise

    def recent(self, after: int) -> list[Entry] | None:
        """The entries after `after`, or `None` when memory does not hold all of them."""
        count = self.seq - after
        tail = self.tail
        if count > len(tail):
            return None
        if count < len(tail):
            return tail[-count:]
        # One reader at the end is the usual case: it gets the list itself, and nothing is copied
        # or kept. A second one that comes later reads the file.
        self.tail = []
        self.tail_bytes = 0
        return tail

    def line(self) -> StreamInfo:
        """As a listing shows it, with what is in the log."""
        info = self.info
        return StreamInfo(
            stream=info.stream,
            owner=info.owner,
            dialect=info.dialect,
            binding=info.binding,
            model=info.model,
            state=self.state,
            created=info.created,
            ended=self.ended,
            events=int(self.seq),
            bytes=self.bytes + sum(blob.size for blob in self.blobs),
        )


def info_of(head: Head) -> StreamInfo:
    """The line of a stream that begins."""
    return StreamInfo(
        stream=head.stream,
        owner=head.owner,
        dialect=head.dialect,
        binding=head.binding,
        model=head.model,
        state="live",
        created=head.created,
        ended=None,
        events=0,
        bytes=0,
    )
