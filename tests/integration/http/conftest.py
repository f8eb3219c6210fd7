"""These tests run on the loop that the server runs on."""

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop's accept, flow control and closing differ from asyncio's."""
    return {"uvloop": uvloop.new_event_loop}
