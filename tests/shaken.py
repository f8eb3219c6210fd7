"""`pytest -p tests.shaken`: event loops that stall now and then, as on a machine that is busy.

A test that waits for a moment instead of for what it needs passes on a quiet machine and fails on
another. Here each turn of a loop may wait before it begins, while threads, other processes and the
kernel's sockets go on: what usually comes one after the other is there at once. Servers that run as
processes of their own have uvloop, and do not stall.
"""

import asyncio.base_events
import random
import time
from typing import Any, Final

import pytest

_SHARE: Final = 0.1
"""Of a loop's turns."""
_LONGEST: Final = 0.02
"""Of the stalls, in seconds."""


def pytest_configure(config: pytest.Config) -> None:
    """Shakes this process, and xdist's workers, which load the same plugins."""
    _ = config
    loops: Any = asyncio.base_events.BaseEventLoop
    turn, dice = loops._run_once, random.Random()

    def shaken(loop: asyncio.AbstractEventLoop) -> None:
        if dice.random() < _SHARE:
            time.sleep(dice.random() * _LONGEST)
        turn(loop)

    loops._run_once = shaken
