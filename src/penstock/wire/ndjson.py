"""NDJSON framing: one JSON value a line."""

from collections.abc import Iterable
from typing import Final

from penstock.core.ports import Frame

CONTENT_TYPE: Final = "application/x-ndjson"

HEARTBEAT: Final = b" "
"""Becomes leading white space of the next line. An empty line kills ollama-python."""


def frame(frames: Iterable[Frame]) -> bytes:
    """All frames, each with its line end."""
    return b"".join([f.data + b"\n" for f in frames])
