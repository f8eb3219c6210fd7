"""API keys, kept with SQLAlchemy Core: digests only."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, Row, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from penstock.config.schema import Stores
from penstock.core.errors import InternalError, InvalidRequestError
from penstock.core.keys import KeyRecord
from penstock.stores._database import Database
from penstock.stores._tables import keys
from penstock.wire import json


class Store:
    """A `KeyStore`. `file` is SQLite's, where `[stores] url` names nothing else."""

    def __init__(self, settings: Stores, file: Path) -> None:
        self._database = Database(settings, file)

    async def all(self) -> Sequence[KeyRecord]:
        """As the port says."""

        def work(connection: Connection) -> list[KeyRecord]:
            rows = connection.execute(select(keys).order_by(keys.c.created, keys.c.number))
            return [_record(row) for row in rows]

        return await self._database.read(work)

    async def add(self, record: KeyRecord) -> None:
        """As the port says. A revoked key keeps its name: a name means one key for ever."""
        values = {name: getattr(record, name) for name in record.__struct_fields__}
        values["models"] = json.encode(record.models).decode()
        values["dialects"] = json.encode(record.dialects).decode()

        def work(connection: Connection) -> bool:
            try:
                with connection.begin_nested():
                    connection.execute(insert(keys).values(**values))
            except IntegrityError:
                return False
            return True

        if not await self._database.write(work):
            raise InvalidRequestError(
                f"there is, or was, a key named {record.name!r}; choose another name", param="name"
            )

    async def revoke(self, name_or_id: str, now: int) -> KeyRecord | None:
        """As the port says. A key that was revoked before stays as it is."""
        named = or_(keys.c.id == name_or_id, keys.c.name == name_or_id)

        def work(connection: Connection) -> KeyRecord | None:
            connection.execute(
                update(keys).where(named, keys.c.revoked.is_(None)).values(revoked=now)
            )
            row = connection.execute(select(keys).where(named)).first()
            return None if row is None else _record(row)

        return await self._database.write(work)

    async def aclose(self) -> None:
        """As the port says."""
        await self._database.aclose()


def _record(row: Row[tuple[object, ...]]) -> KeyRecord:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    del values["number"]
    values["models"] = json.decode(values["models"], tuple[str, ...], InternalError)
    values["dialects"] = json.decode(values["dialects"], tuple[str, ...], InternalError)
    return KeyRecord(**values)
