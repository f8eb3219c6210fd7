"""Whose progress the server tells, and how its work is stopped.

The server works on one job at a time and its progress is that of the whole server; there may be
other people at its own page. So nothing of it is shown, and nothing is interrupted, before it is
known to be ours: by the name that we gave the task, at servers that take one and have
`/internal/progress`; else because it was idle before ours and nobody of this binding is beside us.
"""

import asyncio
from secrets import token_hex
from typing import Final

import msgspec

from penstock.core.errors import EngineProtocolError, GatewayError
from penstock.engines._http import Upstream
from penstock.engines._sdwebui_wire import OwnProgress, Progressed, State
from penstock.wire import json

_STOP_SECONDS: Final = 0.5
_STOP_PAUSE: Final = 0.05
_MOST_LEFT: Final = 16
"""As many ended tasks as the server itself remembers."""


class Sign(msgspec.Struct, frozen=True):
    """What was seen of one job. `preview`: base64, perhaps with `data:` before it."""

    active: bool = False
    queued: bool = False
    at: int = 0
    of: int = 0
    preview: str | None = None
    interrupted: bool = False


class Server:
    """What is known of one server for longer than a run.

    `names`: whether it tells the progress of a task by the name that we gave it; none while that is
    unknown. `left`: tasks of ours that were given up while they waited behind somebody else's.
    """

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.names: bool | None = None
        self.left: list[str] = []
        self.last_own = ""

    async def own(self, task: str, preview: int) -> OwnProgress | None:
        """The progress of one task; none where there is no such route."""
        sent = json.encode({"id_task": task, "id_live_preview": preview})
        data = await self.upstream.ask("internal/progress", sent)
        return None if data is None else json.decode(data, OwnProgress, EngineProtocolError)

    async def progress(self, *, preview: bool) -> Progressed:
        """The progress of whatever the server works on."""
        skip = "false" if preview else "true"
        data = await self.upstream.get(f"sdapi/v1/progress?skip_current_image={skip}")
        return json.decode(data or b"{}", Progressed, EngineProtocolError)

    async def interrupt(self) -> None:
        """Stops whatever the server works on, at its next step."""
        await self.upstream.ask("sdapi/v1/interrupt", b"{}")


class Watch:
    """Watches one job."""

    def __init__(self, server: Server, *, previews: bool) -> None:
        self.task = f"task(penstock-{token_hex(8)})"
        self._server = server
        self._previews = previews
        self._shown = -1
        self._seen = False
        self._alone = False
        self._before: State | None = None
        self._ours: str | None = None
        self._stamp: str | None = None

    async def prepare(self) -> None:
        """Looks at the server before the job is handed in."""
        if self._server.names:
            return
        self._before = (await self._server.progress(preview=False)).state
        # What is left of our own last job is nobody else's.
        self._alone = not self._before.busy or (
            bool(self._server.last_own) and self._before.job_timestamp == self._server.last_own
        )

    async def look(self) -> Sign:
        """What there is to see of the job now. Raises a `GatewayError`."""
        await self._stop_left()
        if self._server.names is not False:
            own = await self._server.own(self.task, self._shown)
            if own is None:
                self._server.names = False
            else:
                return await self._named(own)
        return self._sign_of_alone(await self._server.progress(preview=self._previews))

    async def ended(self) -> None:
        """Learns from a job that has ended whether the server goes by our names."""
        if self._server.names is None:
            own = await self._server.own(self.task, self._shown)
            self._server.names = own is not None and (self._seen or own.completed)

    async def was_interrupted(self) -> bool:
        """Whether somebody stopped the job that has just ended: the server knows until its next.

        A job that is stopped between two looks answers like a whole one.
        """
        state = (await self._server.progress(preview=False)).state
        if state.busy or not state.interrupted:
            return False
        return self._stamp is None or self._stamp == state.job_timestamp

    async def stop(self) -> None:
        """Interrupts the job, unless it is somebody else's turn. Raises nothing; half a second at
        most.
        """
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                # The server tells nothing by itself: asking again is all there is.
                while not await self._stopped():  # noqa: ASYNC110
                    await asyncio.sleep(_STOP_PAUSE)
        except TimeoutError:
            if self._server.names is not False:
                self._server.left = [*self._server.left, self.task][-_MOST_LEFT:]
        except GatewayError:
            return  # the server is gone, and the job with it

    async def _stopped(self) -> bool:
        if self._server.names is not False:
            own = await self._server.own(self.task, self._shown)
            if own is None:
                self._server.names = False
            elif own.active:
                await self._server.interrupt()
                return True
            elif self._server.names or own.queued or own.completed:
                return own.completed
        state = (await self._server.progress(preview=False)).state
        if not self._is_ours(state):
            return self._ours is not None or not self._alone
        await self._server.interrupt()
        return True

    async def _stop_left(self) -> None:
        """What we gave up while it waited has come to its turn, or is gone."""
        for task in self._server.left:
            own = await self._server.own(task, -1)
            if own is not None and own.active:
                await self._server.interrupt()
            elif own is not None and own.queued:
                continue
            self._server.left.remove(task)
            return

    async def _named(self, own: OwnProgress) -> Sign:
        if own.active or own.queued or own.completed:
            self._seen = True
            self._server.names = True
        if not own.active:
            return Sign(queued=own.queued)
        preview = own.live_preview if self._previews else None
        if own.id_live_preview is not None:
            self._shown = own.id_live_preview
        told = await self._server.progress(preview=False)
        if told.state.busy:
            self._stamp = told.state.job_timestamp
        return _sign(told.state, preview)

    def _sign_of_alone(self, told: Progressed) -> Sign:
        if not self._is_ours(told.state):
            return Sign(queued=told.state.busy and not self._alone)
        return _sign(told.state, told.current_image)

    def _is_ours(self, state: State) -> bool:
        if not self._alone:
            return False
        if not state.busy:
            self._before = None
            return False
        if self._ours is None:
            before = self._before
            if before is not None and before.busy and state.job_timestamp == before.job_timestamp:
                return False  # still what is left of the last one
            self._stamp = self._ours = self._server.last_own = state.job_timestamp
        return state.job_timestamp == self._ours


def _sign(state: State, preview: str | None) -> Sign:
    of = max(state.job_count, 1) * state.sampling_steps
    at = min(state.job_no * state.sampling_steps + state.sampling_step, of)
    return Sign(active=True, at=at, of=of, preview=preview, interrupted=bool(state.interrupted))
