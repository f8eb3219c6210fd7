"""Penstock: a streaming gateway in which every generation is a durable log."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from penstock.core.errors import GatewayError
from penstock.core.events import (
    Done,
    Entry,
    Event,
    Failed,
    ReasoningDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from penstock.core.folding import Reply, fold
from penstock.core.messages import Message
from penstock.core.ports import Timeouts
from penstock.core.request import Request, ToolSpec

if TYPE_CHECKING:
    from penstock.client.aio import AsyncClient
    from penstock.client.sync import Client
    from penstock.local import open  # noqa: A004

__all__ = [
    "AsyncClient",
    "Client",
    "Done",
    "Entry",
    "Event",
    "Failed",
    "GatewayError",
    "Message",
    "ReasoningDelta",
    "Reply",
    "Request",
    "Start",
    "TextDelta",
    "Timeouts",
    "ToolCallDelta",
    "ToolSpec",
    "Usage",
    "__version__",
    "fold",
    "open",
]

_LAZY = {
    "AsyncClient": "penstock.client.aio",
    "Client": "penstock.client.sync",
    "open": "penstock.local",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name == "__version__":
        return version("penstock")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
