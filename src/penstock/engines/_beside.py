"""One piece of work beside a generator's own."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

from penstock.core.errors import GatewayError

T = TypeVar("T")


@asynccontextmanager
async def beside(work: Coroutine[None, None, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Runs `work` as a task for as long as the block lasts; leaving the block cancels it.

    For blocks that yield: a bare `TaskGroup` would wrap what ends them, the closing of the
    generator too, in a group. `work` must raise nothing but its cancellation: a task group cancels
    the task that waits on it, which may by then be somewhere else.
    """
    raised: BaseException | None = None
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        try:
            yield task
        except (GatewayError, GeneratorExit) as error:
            raised = error
        task.cancel()
    if raised is not None:
        raise raised
