"""What a stream knows without any I/O; both faces' streams are made of it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Final

import msgspec

from penstock.client._metrics import Meter, Metrics
from penstock.client._patience import Clock
from penstock.client.steps import Server, Source, Steps
from penstock.core.errors import GatewayError, InvalidRequestError, ModalityError, from_code
from penstock.core.events import BEGINNING, TERMINAL, Done, Entry, Failed, Seq
from penstock.core.folding import Folder, Reply
from penstock.core.request import Request

_NONE: Final[Mapping[str, str]] = {}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to read: a new run (`request`), or a kept stream from after `after`.

    `speed`: how fast a recording is played, 0 at once. `keep`: whether an answer that its server
    does not keep is kept here for `result`.
    """

    server: Server
    request: Request | None = None
    stream: str = ""
    after: Seq = BEGINNING
    speed: float = 0.0
    keep: bool = True


class Streaming:
    """State and arithmetic of one stream.

    `id` names it at its server: empty before it has begun, and where streams are not kept. `seq`:
    the place of the last event that was given; `resume(id, after=seq)` goes on from there.
    """

    def __init__(self, plan: Plan) -> None:
        self.id = plan.stream
        self.seq: int = plan.after
        self._plan = plan
        self._source: Source | None = None
        self._batch: Iterator[Entry] = iter(())
        self._newest: Entry | None = None
        self._stopped: Entry | None = None
        self._meter = Meter()
        self._clock: Clock = time.monotonic
        self._folder = Folder() if plan.keep else None
        self._ended = False
        self._closed = False
        self._sought = False
        self._taken = False
        self._paced_from: tuple[float, int] | None = None
        self._reply: Reply | None = None
        self._headers = _NONE

    def __del__(self) -> None:
        """A stream that nobody has any more lets go of its connection."""
        with suppress(RuntimeError):  # of a loop that has ended
            self._close()

    @property
    def metrics(self) -> Metrics:
        """How it arrives, so far: time to first token, tokens a second, gaps; in seconds."""
        return self._meter.metrics()

    @property
    def ignored(self) -> Sequence[str]:
        """The names of hints that the server did not honour."""
        said = self._headers.get("penstock-ignored", "")
        return tuple(name.strip() for name in said.split(",") if name.strip())

    @property
    def ended(self) -> bool:
        """Whether the last event has come."""
        return self._ended

    def seek(self, seq: int) -> None:
        """The next event is the one after `seq`; 0 is the beginning. Opens a closed stream again.

        Raises `ModalityError` where streams are not kept.
        """
        sought = place(seq)
        if self._source is not None and not self._source.stream:
            raise _kept_nowhere("seek")
        if self._source is not None:
            self._source.close()
            self._source = None
        self._batch = iter(())
        self.seq = sought
        self._sought = True
        self._ended = self._closed = False
        self._paced_from = None

    def _replayed(self, speed: float) -> Plan:
        if speed < 0:
            raise InvalidRequestError("speed is 0 (at once) or more", param="speed")
        if not self.id:
            raise _kept_nowhere("replay")
        return Plan(server=self._plan.server, stream=self.id, speed=speed)

    def _open(self) -> Steps[None]:
        """Asks, or finds the stream again."""
        plan = self._plan
        self._meter.begin(self._clock())
        if self._source is None and not self.id and plan.request is not None:
            self._source = yield from plan.server.begin(plan.request)
            self.id = self._source.stream
            if self._sought:
                self.seek(int(self.seq))
        if self._source is None:
            self._source = plan.server.follow(self.id, Seq(self.seq))
        self._headers = self._source.headers or self._headers

    def _more(self) -> Steps[bool]:
        """Has the next batch at hand; false at the end."""
        if self._stopped is not None:
            self._batch, self._stopped = iter((self._stopped,)), None
            return True
        if self._ended:
            return False
        if self._closed:
            raise self._unfinished()
        if self._source is None:
            yield from self._open()
        source = self._source
        if source is None:
            return False
        try:
            entries = yield from source.take()
        except GatewayError:
            source.close()
            if not self._closed:
                raise
            entries = ()
        self._taken = True
        if self._closed and not entries and not self._ended:  # by another thread or task
            raise self._unfinished()
        if not entries:
            self._ended = True
            return False
        self._meter.observe(entries, self._clock())
        if not source.stream and self._folder is not None:
            for entry in entries:
                self._folder.feed(entry)
        self._newest = entries[-1]
        self._ended = isinstance(self._newest.event, TERMINAL)
        self._batch = iter(entries)
        return True

    def _pause(self, entry: Entry) -> float:
        """Seconds to wait before an event of a recording is given."""
        now = self._clock()
        if self._paced_from is None:
            self._paced_from = (now, entry.ms)
        began, ms = self._paced_from
        return max(0.0, began + (entry.ms - ms) / 1000 / self._plan.speed - now)

    def _unread(self, entry: Entry) -> None:
        """It was not given after all: whoever waited for its time was interrupted."""
        self._batch = chain((entry,), self._batch)

    def _whole(self) -> Steps[Reply]:
        """All of it as one reply, whatever was read before."""
        if self._reply is not None:
            return self._reply
        if self._source is None and not self._closed:
            yield from self._open()
        source = self._source
        if (source is not None and not source.stream) or not self.id:
            while (yield from self._more()):
                for entry in self._batch:
                    self.seq = entry.seq
            if self._folder is None:
                raise ModalityError("nothing was kept: the stream was asked for with keep=False")
            reply = self._folder.reply()
        elif source is not None and not self._taken and self.seq == 0:
            reply = yield from self._folded(source)
        else:
            again = self._plan.server.follow(self.id, BEGINNING)
            try:
                reply = yield from self._folded(again)
            finally:
                again.close()
        self._reply = reply
        return reply

    def _folded(self, source: Source) -> Steps[Reply]:
        folder = Folder()
        self._taken = self._taken or source is self._source
        while entries := (yield from source.take()):
            if source is self._source:
                self._meter.observe(entries, self._clock())
                self.seq = entries[-1].seq
                self._ended = isinstance(entries[-1].event, TERMINAL)
            for entry in entries:
                folder.feed(entry)
        return folder.reply()

    def _judged(self, reply: Reply, *, partial: bool) -> Reply:
        if reply.failed is not None and not partial:
            raise failure(reply.failed)
        return reply

    def _stop(self) -> Steps[bool]:
        """Stops the run, wherever it is."""
        if self.id:
            return (yield from self._plan.server.cancel(self.id))
        stopped = not self._ended and self._source is not None
        if stopped:  # its server will not say it
            seq, ms = (self._newest.seq, self._newest.ms) if self._newest else (0, 0)
            self._stopped = Entry(Seq(seq + 1), ms, Done(reason="cancelled"))
            if self._folder is not None:
                self._folder.feed(self._stopped)
        self._ended = True
        self._close()
        return stopped

    def _unfinished(self) -> GatewayError:
        what = "the stream was closed before its end"
        if self.id:
            what += ": `seek` opens it again, `result` has it whole"
        return InvalidRequestError(what)

    def _close(self) -> None:
        self._closed = True
        if self._source is not None:
            self._source.close()


def place(seq: int) -> Seq:
    """Raises `InvalidRequestError` for what is no place in a stream."""
    if seq < 0:
        raise InvalidRequestError("seq counts from 1; 0 is the beginning", param="seq")
    return Seq(seq)


def failure(failed: Failed) -> GatewayError:
    """The error that a stream's end stands for."""
    return from_code(failed.code, failed.message, failed.param)


def _kept_nowhere(what: str) -> ModalityError:
    return ModalityError(f"{what} needs a stream that its server keeps, and that has begun")
