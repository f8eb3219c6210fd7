"""A blocking call that reports through a callback, as batches for one reader on the loop."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

from penstock.core.errors import EngineTimeoutError

T = TypeVar("T")

Report = Callable[[T], bool]
"""What the blocking call is given: takes one item and answers whether to stop."""


class Feed(Generic[T]):
    """What passes from one blocking call in a thread to one reader on the loop.

    However many items arrive within one turn of the loop, the loop is woken once and the reader
    gets all of them. Nothing holds the thread back: items wait for their reader without a bound.
    Made and used on the loop; only `work` runs elsewhere.
    """

    def __init__(self, pool: Executor, work: Callable[[Report[T]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[T] = deque()
        self._woken = False
        self._cancelled = False
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._late: EngineTimeoutError | None = None
        self._call: Future[None] = pool.submit(work, self._report)
        self._call.add_done_callback(self._wake)

    def _report(self, item: T) -> bool:
        if self._cancelled:
            return True
        self._items.append(item)
        # Appended first, looked at second; `_notice` does the reverse, so nothing is left lying.
        if not self._woken:
            self._wake()
        return False

    def _wake(self, _: object = None) -> None:
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._notice)
        except RuntimeError:  # the loop is closed: nobody will read
            self._cancelled = True

    def _notice(self) -> None:
        self._woken = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> list[T]:
        """All that has come since the last take, waiting for something; empty at the end.

        Raises what the call raised, once everything before it has been taken, and
        `EngineTimeoutError` when `allow` says so.
        """
        while True:
            ended = self._call.done()  # asked before the items: what comes last is not lost
            if self._items:
                return [self._items.popleft() for _ in range(len(self._items))]
            if ended:
                self._call.result()
                return []
            if self._late is not None:
                raise self._late
            self._waiter = self._loop.create_future()
            await self._waiter

    def allow(self, seconds: float) -> None:
        """From now on the reader waits this long at most, until it says so again.

        One timer serves the whole stream: a later deadline costs a comparison.
        """
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._deadline < self._timer.when():
            self._arm(seconds)

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._ring, seconds)

    def _ring(self, seconds: float) -> None:
        if self._loop.time() < self._deadline:
            self._arm(seconds)
            return
        self._late = EngineTimeoutError(f"the model said nothing for {seconds:g} seconds")
        self._notice()

    def cancel(self) -> None:
        """Makes the call stop at its next report, or never begin. May be called again."""
        self._cancelled = True
        self._items.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._call.cancel()

    def when_over(self, then: Callable[[], None]) -> None:
        """Calls `then` on the loop once the thread is free again, however the call ended."""
        self._call.add_done_callback(lambda _: self._soon(then))

    def _soon(self, then: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(then)
        except RuntimeError:  # the loop is closed: nobody is waiting for it
            return
