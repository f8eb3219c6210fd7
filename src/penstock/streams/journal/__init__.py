"""The default stream log: append-only segment files, with SQLite as their index."""

from penstock.streams.journal.inspection import (
    Inspection,
    inspect,
    inspect_heads,
    rebuild_index,
)
from penstock.streams.journal.log import Log, open_log

__all__ = ["Inspection", "Log", "inspect", "inspect_heads", "open_log", "rebuild_index"]
