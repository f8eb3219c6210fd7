"""Sessions and keys in a database (SQLite by default, PostgreSQL by URL); models in a folder.

Importing this costs nothing: the database's library is loaded when a store is first used.
"""

from penstock.stores._late import LateKeys, LateSessions

__all__ = ["LateKeys", "LateSessions"]
