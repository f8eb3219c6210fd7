"""A log that can't be written for a while ends the runs that lost something, and nobody else's."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from tests.unit.gateway.gateways import Scripted, gateway, read, submit

from penstock.config.schema import Config, Streams
from penstock.core.errors import LogUnavailableError, UnknownStreamError
from penstock.core.events import Done, Event, Failed, TextDelta
from penstock.core.messages import say
from penstock.core.request import Request
from penstock.gateway.gateway import now_ms
from penstock.streams.journal import open_log


class Disk:
    """A disk that refuses what it is told to bring to rest, while `broken`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broken = False
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, fd: int) -> None:
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._real(fd)


class Held:
    """An engine that says a word for every permit, and then is done."""

    def __init__(self) -> None:
        self.permits = asyncio.Semaphore(0)

    async def __call__(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        if request.messages[-1].text != "quick":
            for _ in range(3):
                await self.permits.acquire()
                yield [TextDelta(part=0, text="word ")]
        yield [TextDelta(part=0, text="last"), Done(reason="stop")]


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("words", [0, 1])
async def test_a_run_whose_stream_was_closed_meanwhile_ends_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: int
):
    """`words`: how many were in the log before its disk broke; with none, not even its head was."""
    disk, script = Disk(monkeypatch), Held()
    log = await open_log(Streams(sync="always"), tmp_path, now_ms)
    async with gateway(Scripted(script), config=Config(), log=log) as made:
        disk.broken = not words
        lost = await submit(made)
        if words:
            script.permits.release()
            await until(lambda: log._live[lost.stream].seq >= 2)
            disk.broken = True
            script.permits.release()  # this word is lost
        await until(lambda: made.trouble() is not None)
        with pytest.raises(LogUnavailableError):
            await submit(made, quick())
        disk.broken = False
        await until(lambda: made.trouble() is None)
        for _ in range(3):
            script.permits.release()
        await until(lambda: made.metrics.runs == 0)
        # Everybody else goes on.
        again = await submit(made, quick())
        assert (await read(made, again))[-1].event == Done(reason="stop")
        if words:
            *_, last = await read(made, lost)
            assert isinstance(last.event, Failed)
            assert last.event.code == "log_unavailable"
        else:
            with pytest.raises(UnknownStreamError):
                await read(made, lost)


def quick() -> Request:
    return Request(messages=(say("user", "quick"),), stream=True)


@pytest.mark.parametrize("before", [[], [TextDelta(part=0, text="word ")]])
@pytest.mark.parametrize("after", [[], [Done(reason="stop")]])
async def test_a_run_that_says_what_no_log_can_hold_ends(
    tmp_path: Path, before: list[Event], after: list[Event]
):
    """Half of a character, such as Python makes of odd file names, is no text."""

    async def says(request: Request) -> AsyncIterator[Sequence[Event]]:
        if before:
            yield before
        yield [TextDelta(part=0, text="\udce9"), *after]

    log = await open_log(Streams(), tmp_path, now_ms)
    async with gateway(Scripted(says), config=Config(), log=log) as made:
        _, *said = [entry.event for entry in await read(made, await submit(made))]
        assert said == [*before, Failed(code="internal_error", message="internal error")]
        await until(lambda: made.metrics.runs == 0)
        assert made.metrics.waiting == 0
