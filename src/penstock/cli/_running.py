"""From a coroutine to an exit status: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Final, NoReturn

from penstock.cli import _output
from penstock.cli._advice import explain, single
from penstock.core.errors import GatewayError

DONE: Final = 0
FAILED: Final = 1
INTERRUPTED: Final = 130


Loop = Callable[[], asyncio.AbstractEventLoop]


def run(work: Coroutine[object, object, int], loop: Loop | None = None) -> NoReturn:
    """Runs a command to its exit status. Errors of ours become one line that says what to do.

    `loop` makes the event loop; asyncio's own by default.
    """
    try:
        sys.exit(_status(work, loop))
    except GatewayError as error:
        fail(error)


def _status(work: Coroutine[object, object, int], loop: Loop | None) -> int:
    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(work)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseExceptionGroup as group:
        raise single(group) from group
    finally:
        work.close()  # Ctrl-C may have come before it began


def fail(error: GatewayError) -> NoReturn:
    """Says what went wrong, and ends."""
    _output.trouble(explain(error))
    sys.exit(FAILED)


@asynccontextmanager
async def stoppable() -> AsyncIterator[tuple[asyncio.TaskGroup, list[asyncio.Task[object]]]]:
    """A group in which Ctrl-C cancels what is in the list, and nothing else."""
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[object]] = []

    def stop() -> None:
        for task in tasks:
            task.cancel()

    before = signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, stop)
    try:
        async with asyncio.TaskGroup() as group:
            yield group, tasks
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)
