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
from penstock.core.request import Request

if TYPE_CHECKING:
    from penstock.client.aio import AsyncClient

__all__ = [
    "AsyncClient",
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
    "ToolCallDelta",
    "Usage",
    "__version__",
    "fold",
]

_LAZY = {"AsyncClient": "penstock.client.aio"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name == "__version__":
        return version("penstock")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
