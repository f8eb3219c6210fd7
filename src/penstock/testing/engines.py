"""The contract of every engine, as tests that plugin authors import.

```python
from penstock.testing.engines import EngineContract, Subject

class TestParrot(EngineContract):
    @pytest.fixture
    def subject(self) -> Subject:
        return Subject(make=lambda: Engine(Config(), Timeouts()), request=…)
```
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256
from typing import cast

import msgspec

from penstock.core.errors import GatewayError
from penstock.core.events import TERMINAL, Blob, Event, Start
from penstock.core.ports import Engine, Painter
from penstock.core.request import Request


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """An engine to try. `request` should be answered with at least a dozen deltas, or steps of a
    picture.

    `broken` makes an engine whose upstream can't be reached or read; none where nothing can break.
    `seconds`: time for one whole answer.
    """

    make: Callable[[], Engine]
    request: Request
    broken: Callable[[], Engine] | None = None
    seconds: float = 30.0


class Scrapbook:
    """An `Album` in memory. `kept`: pictures by the SHA-256 of their bytes."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def keep(self, data: bytes, media_type: str) -> Blob:
        """As the port says."""
        name = sha256(data).hexdigest()
        self.kept[name] = data
        return Blob(sha256=name, media_type=media_type, size=len(data))

    async def get(self, blob: Blob) -> bytes:
        """As the port says."""
        return self.kept[blob.sha256]


def begun(engine: Engine, request: Request) -> AsyncIterator[Sequence[Event]]:
    """A run, of a request for pictures too; its pictures are kept nowhere."""
    if request.modality != "image":
        return engine.stream(request)
    assert isinstance(engine, Painter)
    return cast("Painter", engine).paint(request, Scrapbook())


async def play(engine: Engine, request: Request) -> list[Sequence[Event]]:
    """Every batch of one run."""
    return [batch async for batch in begun(engine, request)]


def said(batches: Sequence[Sequence[Event]]) -> list[Event]:
    """The events of all batches."""
    return [event for batch in batches for event in batch]


class EngineContract:
    """Six promises. `pytest-asyncio` in auto mode runs them; a subclass gives `subject`."""

    async def test_ends_exactly_once_and_starts_nothing(self, subject: Subject) -> None:
        engine = subject.make()
        async with asyncio.timeout(subject.seconds):
            events = said(await play(engine, subject.request))
            await engine.aclose()
        ends = [n for n, event in enumerate(events) if isinstance(event, TERMINAL)]
        assert ends == [len(events) - 1]
        assert not any(isinstance(event, Start) for event in events)

    async def test_serves_two_at_a_time(self, subject: Subject) -> None:
        engine = subject.make()
        async with asyncio.timeout(2 * subject.seconds), asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(play(engine, subject.request)) for _ in range(2)]
        await engine.aclose()
        for run in runs:
            assert isinstance(said(run.result())[-1], TERMINAL)

    async def test_closing_the_stream_ends_it_within_a_second(self, subject: Subject) -> None:
        engine = subject.make()
        stream = begun(engine, subject.request)
        async with asyncio.timeout(subject.seconds):
            await anext(stream)
        async with asyncio.timeout(1):
            await _close(stream)
        await engine.aclose()

    async def test_cancelling_the_task_ends_it_within_a_second(self, subject: Subject) -> None:
        engine = subject.make()
        running = asyncio.Event()

        async def drive() -> None:
            stream = begun(engine, subject.request)
            try:
                async for _ in stream:
                    running.set()
                    await asyncio.sleep(0)
            finally:
                await _close(stream)

        async with asyncio.TaskGroup() as tasks:
            run = tasks.create_task(drive())
            async with asyncio.timeout(subject.seconds):
                await running.wait()
            run.cancel()
            async with asyncio.timeout(1):
                await asyncio.wait([run])
        await engine.aclose()

    async def test_leaves_no_task_behind(self, subject: Subject) -> None:
        before = asyncio.all_tasks()
        engine = subject.make()
        async with asyncio.timeout(subject.seconds):
            await play(engine, subject.request)
        await engine.aclose()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() <= before

    async def test_raises_only_errors_of_ours(self, subject: Subject) -> None:
        if subject.broken is None:
            return
        engine = subject.broken()
        for attempt in (engine.start, engine.models, lambda: play(engine, subject.request)):
            message = ""
            try:
                async with asyncio.timeout(subject.seconds):
                    await attempt()
            except GatewayError as error:
                message = error.message
            assert message, f"{attempt} went well, though nothing is there"
        await engine.aclose()


async def _close(stream: object) -> None:
    close = getattr(stream, "aclose", None)
    assert close is not None, "`stream` must be an async generator: it is closed to cancel"
    await close()
