"""Work in a thread that is over when its caller goes on, also when the caller was cancelled."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def finished(
    pool: ThreadPoolExecutor | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """What `work` returns; `None`: in the loop's own pool.

    A thread can't be stopped. So a cancellation is passed on only once `work` has returned: what
    is done next, such as taking it back, can't be overtaken by it.
    """
    running = asyncio.get_running_loop().run_in_executor(pool, lambda: work(*args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError:
                continue
        if not running.cancelled():
            running.exception()  # Nobody is there any more to be told.
        raise
