"""Several answers to one request, for engines that give only one: so many runs in one stream.

Each choice is a run of its own and takes a place of the engine's like any other: what the engine
can't decode at once waits in its line. As in OpenAI's API the prompt is counted once, and a `seed`
is that of the first choice, the next one's is one more, so that equal answers are no accident.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, cast

import msgspec

from penstock.core.choices import alone, summed
from penstock.core.errors import EngineProtocolError
from penstock.core.events import (
    Done,
    Event,
    Failed,
    Finish,
    Image,
    Progress,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from penstock.core.ports import Engine
from penstock.core.request import Request

MOST: Final = 128
"""As many as OpenAI's API takes."""
_TOGETHER: Final = 16
"""Choices that run side by side: more would fill an engine's line, and then no request for as many
could ever be answered. The others follow as these end.
"""
_APART: Final = 1024
"""Between the parts of two choices, so that a part's number means one part in the whole stream."""
_PIECES: Final = (TextDelta, ReasoningDelta, ToolCallDelta, Image)


def stream(engine: Engine, request: Request) -> AsyncGenerator[Sequence[Event]]:
    """The engine's own stream, or several of them as one where it can't do `choices` itself."""
    if request.choices > 1 and "choices" not in engine.supports:
        return _Merger(engine, request).batches()
    return cast("AsyncGenerator[Sequence[Event]]", engine.stream(request))


class _Merger:
    """Runs side by side, and the one who reads them.

    A run goes on once its batch was read, so that none is ever ahead by more than one; what came
    of several by then is read as one batch. The first failure is everybody's end.
    """

    def __init__(self, engine: Engine, request: Request) -> None:
        self._engine = engine
        self._request = request
        self._places = asyncio.Semaphore(_TOGETHER)
        self._ready: list[Event] = []
        self._news: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._accepted = self._told = False
        self._reasons: dict[int, Done] = {}
        self._usages: dict[int, Usage] = {}
        self._failed: Failed | None = None
        self._breaking = False
        self._broken: BaseException | None = None

    async def batches(self) -> AsyncGenerator[Sequence[Event]]:
        """What all of them say. Closing it closes them, and waits for that."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._guard(n)) for n in range(self._request.choices)]
            try:
                while not self._over:
                    await self._something()
                    if self._broken is not None:
                        break
                    batch, self._ready = self._ready, []
                    room, self._room = self._room, None
                    yield [*batch, *self._end()] if self._over else batch
                    # Read: whoever said it may go on. Whoever spoke meanwhile waits for the next.
                    if room is not None:
                        room.set_result(None)
            except GeneratorExit:
                # Swallowed: the group would make an error of it, and the end follows anyway.
                pass
            for task in tasks:
                task.cancel()
        if self._broken is not None:
            raise self._broken

    @property
    def _over(self) -> bool:
        ended = len(self._reasons) == self._request.choices
        return ended or self._failed is not None or self._broken is not None

    @property
    def _new(self) -> bool:
        if self._breaking:
            # Heard of a few turns later than it happened; nothing is to be said in between.
            return self._broken is not None
        return bool(self._ready) or self._over or self._accepted != self._told

    async def _something(self) -> None:
        """Waits for news: events, a first acceptance, an end."""
        while not self._new:
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        self._told = self._accepted

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _guard(self, choice: int) -> None:
        """One run, whose error is told and does not reach the group."""
        outcome = (await asyncio.gather(self._run(choice), return_exceptions=True))[0]
        if isinstance(outcome, BaseException) and self._broken is None:
            self._broken = outcome
            self._tell()

    async def _run(self, choice: int) -> None:
        try:
            async with self._places:
                await self._follow(choice)
        except BaseException:
            self._breaking = True
            raise

    async def _follow(self, choice: int) -> None:
        batches = cast(
            "AsyncGenerator[Sequence[Event]]", self._engine.stream(alone(self._request, choice))
        )
        async with aclosing(batches):
            async for batch in batches:
                self._accepted = True
                found = self._tagged(batch, choice)
                self._ready += found
                self._tell()
                if choice in self._reasons or self._failed is not None:
                    return
                # What left nothing to read is not waited for: nobody would say that it was.
                if found:
                    await self._read()
        raise EngineProtocolError("the engine stopped without saying how it ended")

    async def _read(self) -> None:
        """Waits until what is ready was read."""
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()
        # Shared by all choices: one that is closed must not take it from the others.
        await asyncio.shield(self._room)

    def _tagged(self, batch: Sequence[Event], choice: int) -> list[Event]:
        found: list[Event] = []
        for event in batch:
            if isinstance(event, _PIECES):
                part = choice * _APART + event.part
                found.append(msgspec.structs.replace(event, choice=choice, part=part))
            elif isinstance(event, Usage):
                self._usages[choice] = event
            elif isinstance(event, Done):
                self._reasons[choice] = event
                found.append(Finish(choice=choice, reason=event.reason))
            elif isinstance(event, Failed):
                self._failed = self._failed or event
            elif isinstance(event, Progress) and choice == 0:
                # They wait in the same line and for the same model: one tells enough.
                found.append(event)
        return found

    def _end(self) -> list[Event]:
        usage: list[Event] = (
            [summed([self._usages[n] for n in sorted(self._usages)])] if self._usages else []
        )
        return [*usage, self._failed or self._reasons[0]]
