"""The process that draws for the `diffusers` engine: `python -m` this, with pipes for both ends.

Messages come on the standard input and leave on what was the standard output; what libraries print
goes to the standard error. One thread computes, the main one listens: so a run can be told to stop
while it computes, and the end of the input (the gateway is gone, however it died) ends this process
at once, in the middle of a step too.
"""

import logging
import os
import sys
import threading
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from penstock.engines import _diffusers_pipes
from penstock.engines._diffusers_drawing import Drawing, StoppedError
from penstock.engines._diffusers_messages import (
    LENGTH,
    Broke,
    Draw,
    Open,
    Opened,
    Over,
    Refused,
    Report,
    Stop,
    ask_of,
    packed,
)
from penstock.engines._diffusers_pipes import Loaded
from penstock.engines._diffusers_trouble import is_fatal, is_memory, said_of

logger = logging.getLogger(__name__)

_FIRST_TO_GO: Final = "500"
"""When memory is short, Linux takes the process of the highest score: us, not the gateway."""


class Worker:
    """Takes asks one after the other. `say` may be called from any thread."""

    def __init__(self, out: int) -> None:
        self._out = out
        self._saying = threading.Lock()
        self._computing = ThreadPoolExecutor(1, "drawing")
        self._stopped: set[int] = set()
        self._loaded: Loaded | None = None

    def say(self, report: Report) -> None:
        """Sends a message. Once nobody reads, there is nothing left to do."""
        view = memoryview(packed(report))
        with self._saying:
            try:
                while view:
                    view = view[os.write(self._out, view) :]
            except BrokenPipeError:
                os._exit(0)

    def listen(self, asks: BinaryIO) -> None:
        """Until the input ends."""
        while True:
            head = asks.read(LENGTH)
            if len(head) < LENGTH:
                return
            ask = ask_of(asks.read(int.from_bytes(head, "little")))
            if isinstance(ask, Stop):
                self._stopped.add(ask.job)
            elif isinstance(ask, Open):
                self._computing.submit(self._open, ask).add_done_callback(self._opened)
            else:
                begun = partial(self._ended, ask.job, time.perf_counter_ns())
                self._computing.submit(self._draw, ask).add_done_callback(begun)

    def _open(self, ask: Open) -> Loaded:
        if self._loaded is not None:
            self._loaded.free()
            self._loaded = None
        self._loaded = _diffusers_pipes.load(ask)
        return self._loaded

    def _opened(self, future: Future[Loaded]) -> None:
        error = future.exception()
        if error is None:
            self.say(Opened(facts=future.result().facts))
            return
        traceback.print_exception(error)
        self.say(Refused(message=said_of(error), memory=is_memory(error)))
        _diffusers_pipes.collect()

    def _draw(self, ask: Draw) -> None:
        assert self._loaded is not None
        Drawing(self._loaded, ask, self.say, lambda: ask.job in self._stopped).run()

    def _ended(self, job: int, begun: int, future: Future[None]) -> None:
        """Called in the thread that computes, so nothing of the run computes any more."""
        error = future.exception()
        self._stopped.discard(job)
        if error is None or isinstance(error, StoppedError):
            self.say(Over(job=job, nanoseconds=time.perf_counter_ns() - begun))
            return
        traceback.print_exception(error)
        memory, fatal = is_memory(error), is_fatal(error)
        # Its traceback holds the tensors of the run that broke.
        error.__traceback__ = None
        _diffusers_pipes.collect()
        self.say(Broke(job=job, message=said_of(error), memory=memory, fatal=fatal))
        if fatal:
            os._exit(1)


def main() -> None:
    """Runs until the input ends."""
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    Worker(out).listen(sys.stdin.buffer)
    os._exit(0)


if __name__ == "__main__":
    main()
