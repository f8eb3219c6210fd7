"""The default stream log: append-only segment files, with SQLite as their index."""

from penstock.streams.journal.inspection import Inspection, inspect, rebuild_index
from penstock.streams.journal.log import Log

__all__ = ["Inspection", "Log", "inspect", "rebuild_index"]
