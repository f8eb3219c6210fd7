"""Conversations, kept with SQLAlchemy Core."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from penstock.config.schema import Stores
from penstock.core.errors import InternalError, SessionBusyError, UnknownSessionError
from penstock.core.messages import Message
from penstock.core.ports import StreamState
from penstock.core.sessions import Session, SessionLine, Turn
from penstock.stores._database import Database
from penstock.stores._tables import sessions, turns
from penstock.wire import json

_PREVIEW: Final = 180
"""Characters of a listing's preview: the prompt portal's."""
_BUSY_RETRY_SECONDS: Final = 1.0


class _About(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a client says of its session."""

    id: str
    title: str = ""
    system: str = ""
    model: str = ""


class Store:
    """A `SessionStore`. `file` is SQLite's, where `[stores] url` names nothing else."""

    def __init__(self, settings: Stores, file: Path) -> None:
        self._database = Database(settings, file)

    async def open(self, session: Session) -> Session:
        """As the port says. Two that open the same one at a time get the same one."""

        def work(connection: Connection) -> Session:
            try:
                with connection.begin_nested():
                    _create(connection, session)
            except IntegrityError:  # another process was faster
                found = _load(connection, session.owner, session.id)
                if found is None:
                    raise
                return found
            return session

        found = await self.get(session.owner, session.id)
        if found is not None:
            return found
        return await self._database.write(work)

    async def get(self, owner: str, session: str) -> Session | None:
        """As the port says."""
        return await self._database.read(lambda connection: _load(connection, owner, session))

    async def begin(
        self, owner: str, session: str, stream: str, said: Sequence[Message], now: int
    ) -> int:
        """As the port says. Turns count from 1."""
        place = _place(owner, session)
        preview = _preview(said)

        def work(connection: Connection) -> int:
            # The one statement that decides: of two, the second finds `live` taken.
            taken = connection.execute(
                update(sessions)
                .where(sessions.c.place == place, sessions.c.live.is_(None))
                .values(
                    live=stream,
                    last=sessions.c.last + 1,
                    turns=sessions.c.turns + 1,
                    updated=now,
                    **({"preview": _packed(preview)} if preview else {}),
                )
            )
            row = connection.execute(
                select(sessions.c.number, sessions.c.last).where(sessions.c.place == place)
            ).one_or_none()
            if row is None:
                raise UnknownSessionError("no session of this id")
            if taken.rowcount == 0:
                raise SessionBusyError(
                    "a turn of this session still runs", retry_after=_BUSY_RETRY_SECONDS
                )
            turn = Turn(n=row.last, stream=stream, state="live", said=tuple(said), created=now)
            connection.execute(insert(turns).values(**_row(row.number, turn)))
            return turn.n

        return await self._database.write(work)

    async def end(
        self,
        stream: str,
        state: StreamState,
        reply: Message | None,
        error: str | None,
        now: int,
    ) -> None:
        """As the port says."""
        values: Mapping[str, object] = {
            "state": state,
            "reply": None if reply is None else _packed(reply),
            "error": None if error is None else _packed(error),
            "ended": now,
        }

        def work(connection: Connection) -> None:
            # The session first, as in `drop`: PostgreSQL would find the two in a deadlock.
            connection.execute(
                update(sessions).where(sessions.c.live == stream).values(live=None, updated=now)
            )
            connection.execute(
                update(turns)
                .where(turns.c.stream == stream, turns.c.state == "live")
                .values(**values)
            )

        await self._database.write(work)

    async def abandon(self, stream: str) -> None:
        """As the port says. A turn that has ended stays."""

        def work(connection: Connection) -> None:
            connection.execute(
                update(sessions)
                .where(sessions.c.live == stream)
                .values(live=None, turns=sessions.c.turns - 1)
            )
            connection.execute(
                delete(turns).where(turns.c.stream == stream, turns.c.state == "live")
            )

        await self._database.write(work)

    async def recent(self, owner: str, limit: int) -> Sequence[SessionLine]:
        """As the port says."""

        def work(connection: Connection) -> list[SessionLine]:
            rows = connection.execute(
                select(sessions)
                .where(sessions.c.owner == owner)
                .order_by(sessions.c.updated.desc(), sessions.c.number.desc())
                .limit(limit)
            )
            return [_line(row) for row in rows]

        return await self._database.read(work)

    async def instruct(self, owner: str, session: str, system: str) -> bool:
        """As the port says."""
        place = _place(owner, session)

        def work(connection: Connection) -> bool:
            row = connection.execute(
                select(sessions.c.about).where(sessions.c.place == place)
            ).one_or_none()
            if row is None:
                return False
            about = json.decode(row.about, _About, InternalError)
            changed = _packed(msgspec.structs.replace(about, system=system))
            connection.execute(
                update(sessions).where(sessions.c.place == place).values(about=changed)
            )
            return True

        return await self._database.write(work)

    async def drop(self, owner: str, session: str) -> bool:
        """As the port says."""
        place = _place(owner, session)

        def work(connection: Connection) -> bool:
            # Locked first, so that no turn begins between the two deletions.
            connection.execute(
                update(sessions).where(sessions.c.place == place).values(live="dropped")
            )
            number = select(sessions.c.number).where(sessions.c.place == place).scalar_subquery()
            connection.execute(delete(turns).where(turns.c.session == number))
            return (
                connection.execute(delete(sessions).where(sessions.c.place == place)).rowcount > 0
            )

        return await self._database.write(work)

    async def aclose(self) -> None:
        """As the port says."""
        await self._database.aclose()


def _place(owner: str, session: str) -> str:
    return sha256(json.encode((owner, session))).hexdigest()


def _packed(value: object) -> str:
    return json.encode(value).decode()


def _preview(said: Sequence[Message]) -> str:
    text = next((message.text for message in reversed(said) if message.text.strip()), "")
    return " ".join(text[: 4 * _PREVIEW].split())[:_PREVIEW]


def _create(connection: Connection, session: Session) -> None:
    about = _About(session.id, session.title, session.system, session.model)
    made = connection.execute(
        insert(sessions).values(
            place=_place(session.owner, session.id),
            owner=session.owner,
            about=_packed(about),
            preview=_packed(_preview([m for turn in session.turns for m in turn.said])),
            turns=len(session.turns),
            last=max((turn.n for turn in session.turns), default=0),
            live=next((turn.stream for turn in session.turns if turn.state == "live"), None),
            created=session.created,
            updated=session.updated,
        )
    )
    number = made.inserted_primary_key
    if session.turns and number is not None:
        rows = [_row(number[0], turn) for turn in session.turns]
        connection.execute(insert(turns), rows)


def _row(session: int, turn: Turn) -> dict[str, object]:
    return {
        "session": session,
        "n": turn.n,
        "stream": turn.stream,
        "state": turn.state,
        "said": _packed(turn.said),
        "reply": None if turn.reply is None else _packed(turn.reply),
        "error": None if turn.error is None else _packed(turn.error),
        "created": turn.created,
        "ended": turn.ended,
    }


def _load(connection: Connection, owner: str, session: str) -> Session | None:
    row = connection.execute(
        select(sessions).where(sessions.c.place == _place(owner, session))
    ).one_or_none()
    if row is None:
        return None
    found = connection.execute(
        select(turns).where(turns.c.session == row.number).order_by(turns.c.n)
    )
    about = json.decode(row.about, _About, InternalError)
    return Session(
        id=about.id,
        owner=row.owner,
        title=about.title,
        system=about.system,
        model=about.model,
        created=row.created,
        updated=row.updated,
        turns=tuple([_turn(one) for one in found]),
    )


def _turn(row: Row[tuple[object, ...]]) -> Turn:
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    reply, error = values["reply"], values["error"]
    return Turn(
        n=values["n"],
        stream=values["stream"],
        state=values["state"],
        said=json.decode(values["said"], tuple[Message, ...], InternalError),
        reply=None if reply is None else json.decode(reply, Message, InternalError),
        error=None if error is None else json.decode(error, str, InternalError),
        created=values["created"],
        ended=values["ended"],
    )


def _line(row: Row[tuple[object, ...]]) -> SessionLine:
    values = row._mapping  # noqa: SLF001
    about = json.decode(values["about"], _About, InternalError)
    return SessionLine(
        id=about.id,
        title=about.title,
        model=about.model,
        created=values["created"],
        updated=values["updated"],
        turns=values["turns"],
        preview=json.decode(values["preview"], str, InternalError),
    )
