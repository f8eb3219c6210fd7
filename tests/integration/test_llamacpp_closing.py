"""A model that is closed as soon as it is there: llama.cpp may not have begun its loop yet."""

import asyncio
import threading

import pytest

from penstock.core.ports import Timeouts
from penstock.engines.llamacpp import Config, Engine


@pytest.mark.timeout(120)
async def test_closing_at_once_never_hangs() -> None:
    """It did, under load: the library waits for a loop that begins after it was told to end."""
    busy = threading.Event()

    def burn() -> None:
        while not busy.is_set():
            sum(range(1000))

    burners = [threading.Thread(target=burn, daemon=True) for _ in range(4)]
    for burner in burners:
        burner.start()
    try:
        for _ in range(10):
            engine = Engine(Config(), Timeouts())
            await engine.start()
            async with asyncio.timeout(20):
                await engine.aclose()
    finally:
        busy.set()
