"""Sessions: turns in, turns out. A session is a list of streams, kept by its owner's own id for it.

The store says what was said and which turn runs; what was answered is in the stream log, and gets
into the store once the stream has ended. So a turn whose process died before that is ended from the
log by whoever opens the session next.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from penstock.config.schema import Sessions as Settings
from penstock.core.errors import (
    GatewayError,
    ModalityError,
    SessionBusyError,
    UnknownSessionError,
    UnknownStreamError,
)
from penstock.core.events import StreamId
from penstock.core.messages import Message, say
from penstock.core.ports import Head, StreamLog
from penstock.core.queries import Found, Query, SystemAsk
from penstock.core.request import Request
from penstock.core.sessions import Session
from penstock.core.stores import SessionStore
from penstock.gateway.history import check_results, outcome, split, title
from penstock.gateway.replies import folded
from penstock.gateway.runs import Attempt
from penstock.gateway.trimming import Trimming

logger = logging.getLogger(__name__)

Prepared = tuple[Head, list[Attempt]]
Prepare = Callable[[Request], Awaitable[Prepared]]

OPERATIONS: Final = frozenset({"sessions", "session", "drop_session", "instruct_session"})
DEFAULT_SYSTEM: Final = "You are a helpful AI assistant."
"""The portal's own (`get_or_create_session`)."""
LISTED: Final = 200
GRACE_MS: Final = 10_000
"""A turn begins in the store just before its stream does in the log: so long may that take."""
_LOOK_SECONDS: Final = 0.25
"""How often a waiting message looks for the end of a turn that another process runs."""


class _Line:
    """Who waits in one session, in order. `freed` is set when a turn of this process ends."""

    def __init__(self) -> None:
        self.waiting = 0
        self.turn = asyncio.Lock()
        self.freed = asyncio.Event()


class Sessions:
    """All sessions of a gateway. `cancel` stops the run of a stream, if it is one of ours."""

    def __init__(
        self,
        store: SessionStore | None,
        log: StreamLog,
        settings: Settings,
        trimming: Trimming,
        now_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._log = log
        self._settings = settings
        self._trimming = trimming
        self._now_ms = now_ms
        self._lines: dict[tuple[str, str], _Line] = {}

    @property
    def store(self) -> SessionStore:
        """Raises `ModalityError` where this gateway keeps no sessions."""
        if self._store is None:
            raise ModalityError("this gateway keeps no sessions")
        return self._store

    # ── a turn begins ────────────────────────────────────────────────────────────────────────────

    async def begin(
        self, request: Request, owner: str, prepare: Prepare, create: Callable[[Head], None]
    ) -> Prepared:
        """Begins a turn, and its stream in the log. `prepare` decides who is to answer, `create`
        begins the stream, at once.

        Raises `SessionBusyError`; `UnsupportedParameterError` when system prompt and message are
        too long for the model; `InvalidRequestError` for results of calls that were not made; and
        what `prepare` and `create` raise. Then no turn has begun.
        """
        name = request.session or ""
        known = await self._current(owner, name)
        head, attempts = await prepare(_remembering(request, known))
        system, said = split(attempts[0].request.messages)
        new = self._new(name, owner, system, said, request)
        if known is not None:  # It may be dropped while this message waits.
            new = replace(new, system=known.system, model=known.model)
        if not _runs(known):
            check_results(known.turns if known is not None else (), said)
        fitted = await self._fitted(known or new, said, attempts)
        begun = False
        try:
            n = await self._claim(new, head.stream, said, known=known is not None)
            if not _is_next(known, n):
                newest = _before(await self.store.get(owner, name) or new, n)
                check_results(newest.turns, said)
                fitted = await self._fitted(newest, said, attempts)
            head = replace(head, request=fitted[0].request)
            create(head)
            begun = True
        finally:
            if not begun:
                await self.store.abandon(head.stream)
                self._freed(owner, name)
        return head, fitted

    def _new(
        self,
        name: str,
        owner: str,
        system: str | None,
        said: Sequence[Message],
        request: Request,
    ) -> Session:
        now = self._now_ms()
        return Session(
            id=name,
            owner=owner,
            title=title(said),
            system=DEFAULT_SYSTEM if system is None else system,
            model=request.model,
            created=now,
            updated=now,
        )

    async def _fitted(
        self, session: Session, said: Sequence[Message], attempts: Sequence[Attempt]
    ) -> list[Attempt]:
        return [await self._trimming.fit(session, said, attempt) for attempt in attempts]

    async def _claim(
        self, session: Session, stream: str, said: Sequence[Message], *, known: bool
    ) -> int:
        """The number of our turn, once it is ours."""
        if not known:
            await self.store.open(session)
        key = (session.owner, session.id)
        if key not in self._lines:
            try:
                return await self._try(session, stream, said)
            except SessionBusyError:
                if self._settings.busy == "refuse":
                    raise
        line = self._lines.setdefault(key, _Line())
        if line.waiting >= self._settings.max_waiting:
            raise SessionBusyError(
                f"{line.waiting} messages wait in this session already", retry_after=1.0
            )
        line.waiting += 1
        try:
            return await self._wait(line, session, stream, said)
        finally:
            line.waiting -= 1
            if not line.waiting:
                self._lines.pop(key, None)

    async def _wait(
        self, line: _Line, session: Session, stream: str, said: Sequence[Message]
    ) -> int:
        try:
            async with asyncio.timeout(self._settings.wait_seconds), line.turn:
                while True:
                    line.freed.clear()
                    with suppress(SessionBusyError):
                        return await self._try(session, stream, said)
                    # No `wait_for`: Python 3.11's may lose the cancellation of a client that left.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK_SECONDS):
                            await line.freed.wait()
        except TimeoutError:
            raise SessionBusyError(
                "the answer before this message took too long", retry_after=1.0
            ) from None

    async def _try(self, session: Session, stream: str, said: Sequence[Message]) -> int:
        """Raises `SessionBusyError` while a turn really runs."""
        try:
            return await self._begin(session, stream, said)
        except SessionBusyError:
            # Its stream may have ended already, or its process may be dead.
            found = await self.store.get(session.owner, session.id)
            if found is not None and not await self._end_what_ended(found):
                raise
        return await self._begin(session, stream, said)

    async def _begin(self, session: Session, stream: str, said: Sequence[Message]) -> int:
        owner, name, now = session.owner, session.id, self._now_ms()
        try:
            return await self.store.begin(owner, name, stream, said, now)
        except UnknownSessionError:  # It was dropped in the meantime.
            await self.store.open(session)
        return await self.store.begin(owner, name, stream, said, now)

    # ── a turn ends ──────────────────────────────────────────────────────────────────────────────

    async def finish(self, head: Head) -> None:
        """Writes the end of a turn whose run is over. What can't be written now is written by
        whoever opens the session next.
        """
        try:
            await self._end(head.stream)
        except (GatewayError, OSError) as error:
            # A file of the log that can't be opened is no reason to take everybody's runs down.
            logger.warning("stream %s: its turn is not ended yet: %s", head.stream, error)
        finally:
            self._freed(head.owner, head.request.session or "")

    def _freed(self, owner: str, name: str) -> None:
        line = self._lines.get((owner, name))
        if line is not None:
            line.freed.set()

    async def _end(self, stream: str) -> None:
        state, reply, error = outcome(await folded(self._log, StreamId(stream)))
        await self.store.end(stream, state, reply, error, self._now_ms())

    async def _end_what_ended(self, session: Session) -> bool:
        """Ends the live turns whose streams run no more; whether there was any."""
        found = False
        for turn in session.turns:
            if turn.state != "live":
                continue
            try:
                info = await self._log.info(StreamId(turn.stream))
            except UnknownStreamError:
                if self._now_ms() - turn.created < GRACE_MS:
                    continue
                lost = "the stream of this turn is not in the log any more"
                await self.store.end(turn.stream, "interrupted", None, lost, self._now_ms())
            else:
                if info.state == "live":
                    continue
                await self._end(turn.stream)
            found = True
        return found

    async def _current(self, owner: str, name: str) -> Session | None:
        session = await self.store.get(owner, name)
        if session is not None and await self._end_what_ended(session):
            session = await self.store.get(owner, name)
        return session

    # ── questions ────────────────────────────────────────────────────────────────────────────────

    async def find(
        self, query: Query, owner: str, cancel: Callable[[StreamId], Awaitable[bool]]
    ) -> Found:
        """One's own sessions, one with all its turns (`None`: there is none), or its end.

        A session that is dropped has its live run stopped with `cancel`, where that runs here.
        """
        match query.operation:
            case "sessions":
                lines = await self.store.recent(owner, LISTED)
                return Found(query=query, sessions=tuple(lines))
            case "drop_session":
                return Found(query=query, exists=await self._drop(owner, query.name, cancel))
            case "instruct_session":
                system = query.ask.system if isinstance(query.ask, SystemAsk) else ""
                return Found(
                    query=query, exists=await self.store.instruct(owner, query.name, system)
                )
            case _:
                session = await self._current(owner, query.name)
                return Found(query=query, session=session, exists=session is not None)

    async def _drop(
        self, owner: str, name: str, cancel: Callable[[StreamId], Awaitable[bool]]
    ) -> bool:
        session = await self.store.get(owner, name)
        # Before the run is stopped: a message that waits for its end must begin a session anew,
        # instead of a turn that is dropped under it.
        dropped = await self.store.drop(owner, name)
        self._freed(owner, name)
        for turn in session.turns if session is not None else ():
            if turn.state == "live":
                with suppress(UnknownStreamError):
                    await cancel(StreamId(turn.stream))
        return dropped


def _remembering(request: Request, known: Session | None) -> Request:
    """The request with the session's model, where it names none, and with its system prompt."""
    if known is None:
        return request
    _, said = split(request.messages)
    messages = (say("system", known.system), *said)
    return replace(request, model=request.model or known.model, messages=messages, own_system=True)


def _runs(session: Session | None) -> bool:
    """Whether a turn runs. What its answer will call is not known yet."""
    return session is not None and bool(session.turns) and session.turns[-1].state == "live"


def _is_next(known: Session | None, n: int) -> bool:
    """Whether nothing happened in the session since `known` was read."""
    if known is None:
        return n == 1
    return bool(known.turns) and not _runs(known) and n == known.turns[-1].n + 1


def _before(session: Session, n: int) -> Session:
    return replace(session, turns=tuple(turn for turn in session.turns if turn.n < n))
