"""The tables of both stores, the same in SQLite and PostgreSQL.

What clients write (ids, titles, messages) is kept as ASCII JSON: PostgreSQL's text has no NUL.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

VERSION: Final = 1
"""Of the schema. Migrations begin with the second."""

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Number: Final = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite counts up by itself only in an `INTEGER`."""

schema: Final = Table("penstock_schema", metadata, Column("version", Integer, primary_key=True))

sessions: Final = Table(
    "sessions",
    metadata,
    Column("number", _Number, primary_key=True),
    # A hash of owner and id: of one length whatever the client calls its session.
    Column("place", String(64), nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("preview", Text, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    # The stream of the turn that runs. Taking it is what makes a turn's beginning atomic.
    Column("live", Text, nullable=True),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
)
Index(None, sessions.c.owner, sessions.c.updated)

turns: Final = Table(
    "turns",
    metadata,
    Column("session", _Number, ForeignKey("sessions.number"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("stream", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("said", Text, nullable=False),
    Column("reply", Text, nullable=True),
    Column("error", Text, nullable=True),
    Column("created", BigInteger, nullable=False),
    Column("ended", BigInteger, nullable=True),
)

keys: Final = Table(
    "keys",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False, unique=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=True),
    Column("revoked", BigInteger, nullable=True),
    Column("admin", Boolean, nullable=False),
    Column("models", Text, nullable=False),
    Column("dialects", Text, nullable=False),
    Column("requests_per_minute", Integer, nullable=True),
    Column("concurrent", Integer, nullable=True),
)
