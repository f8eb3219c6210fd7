"""Which requests there were: a redelivery joins the one that runs, or has its answer once more."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from penstock.core.events import StreamId
from penstock.transports.mqtt.shapes import Note

_MOST: Final = 10_000
_SAME_SECONDS: Final = 60.0
"""So long is a message without a `requestId` the same one when it comes again."""
_LINES: Final = 10_000


class Known:
    """One request. `accepted` is set once it is in the log, or refused: then `stream` is `None`.

    `sent`: the seq of the last event that the broker has.
    """

    def __init__(self, note: Note, at: float) -> None:
        self.note = note
        self.at = at
        self.stream: StreamId | None = None
        self.accepted = asyncio.Event()
        self.delivering = False
        self.sent = 0


class Ledger:
    """The newest requests of all projects. `now`: seconds of a clock that never goes back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._known: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self._by_id: dict[tuple[str, str], Known] = {}

    def find(self, note: Note) -> Known | None:
        """The request that this one is a redelivery of."""
        found = self._known.get((note.project, note.key))
        if found is None or (not note.given and self._now() - found.at > _SAME_SECONDS):
            return None
        return found

    def named(self, project: str, request: str) -> Known | None:
        """The newest request of this id."""
        return self._by_id.get((project, request))

    def add(self, note: Note, ago: float = 0.0) -> Known:
        """A new one. `ago`: how many seconds it is old."""
        known = Known(note, self._now() - ago)
        self.forget(self._known.get((note.project, note.key)))
        self._known[note.project, note.key] = known
        self._by_id[note.project, note.request] = known
        while len(self._known) > _MOST:
            self.forget(next(iter(self._known.values())))
        return known

    def begin_anew(self, project: str, session: str) -> None:
        """A session was forgotten (empty: all of a project): what is said in it now is new, even if
        it was said a moment ago. What has a `requestId` stays known.
        """
        for known in list(self._known.values()):
            note = known.note
            if note.project == project and session in ("", note.session) and not note.given:
                self.forget(known)

    def forget(self, known: Known | None) -> None:
        """A request that was refused may be tried again."""
        if known is None:
            return
        note = known.note
        if self._known.get((note.project, note.key)) is known:
            del self._known[note.project, note.key]
        if self._by_id.get((note.project, note.request)) is known:
            del self._by_id[note.project, note.request]


class Lines:
    """Who waits in which session, in order."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, str], tuple[asyncio.Lock, list[int]]] = {}

    def enter(self, project: str, session: str) -> "Turn":
        """A place in the session's line."""
        return Turn(self._locks, (project, session))


class Turn:
    """Use as an async context manager: inside, it is one's turn."""

    def __init__(
        self,
        locks: dict[tuple[str, str], tuple[asyncio.Lock, list[int]]],
        key: tuple[str, str],
    ) -> None:
        self._locks = locks
        self._key = key
        self._lock, self._waiting = locks.setdefault(key, (asyncio.Lock(), [0]))
        self._waiting[0] += 1

    async def __aenter__(self) -> None:
        try:
            await self._lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
        self._leave()

    def _leave(self) -> None:
        self._waiting[0] -= 1
        if not self._waiting[0]:
            self._locks.pop(self._key, None)


class Changes:
    """Changes of a project's prompts and sessions: what is said after one is answered after it."""

    def __init__(self) -> None:
        self._running: dict[str, set[asyncio.Event]] = {}

    @asynccontextmanager
    async def one(self, project: str) -> AsyncIterator[None]:
        """Inside, a change goes on. It begins at once, before anything that came later."""
        done = asyncio.Event()
        running = self._running.setdefault(project, set())
        running.add(done)
        try:
            yield
        finally:
            done.set()
            running.discard(done)

    async def passed(self, project: str) -> None:
        """Waits for those that go on now."""
        for done in tuple(self._running.get(project, ())):
            await done.wait()


class Rates:
    """Requests of a session in the last minute. 0: as many as it likes."""

    def __init__(self, most: int, now: Callable[[], float]) -> None:
        self._most = most
        self._now = now
        self._times: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def wait(self, project: str, session: str) -> float | None:
        """Counts a request; seconds until it would be let in, where it is one too many."""
        if not self._most:
            return None
        times = self._times.setdefault((project, session), deque(maxlen=self._most))
        self._times.move_to_end((project, session))
        while len(self._times) > _LINES:
            self._times.popitem(last=False)
        now = self._now()
        if len(times) == self._most and now - times[0] < 60.0:
            return 60.0 - (now - times[0])
        times.append(now)
        return None
