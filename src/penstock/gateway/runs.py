"""A run: one engine's events, made well-formed, written to the log. Readers are elsewhere."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final, cast

import msgspec

from penstock.core.errors import (
    EngineProtocolError,
    EngineTimeoutError,
    GatewayError,
    InternalError,
    InvalidRequestError,
    LogFullError,
    LogUnavailableError,
)
from penstock.core.events import Done, Event, Failed, Progress, Start, StreamId, Usage
from penstock.core.ports import Engine, Head, StreamLog, Timeouts
from penstock.core.request import Request
from penstock.gateway import choices, pictures
from penstock.gateway.deadlines import Deadline
from penstock.gateway.metrics import Metrics

logger = logging.getLogger(__name__)

_TERMINAL: Final = frozenset({Failed, Done})
_SILENT: Final = frozenset({Start, Progress, Usage})
_SILENT_PAINTER: Final = frozenset({Start, Usage})
"""A picture is many steps, and each of them is a sign of life."""
_ODD: Final = frozenset({Start, Usage, Failed, Done})
"""Events that a run must look at; all others pass through as they are."""


class Attempt(msgspec.Struct, frozen=True):
    """A binding to try, with the request as its engine can run it.

    `model`: who answers, as listed; `own`: the engine's name for it, where that is another.
    `engine` is the kind of the binding, for `Start`.
    """

    binding: str
    model: str
    request: Request
    engine: str = ""
    own: str = ""


class Surroundings(msgspec.Struct, frozen=True):
    """What every run needs of the gateway. `ready` waits until a binding has started; `dressed`
    puts before its engine what a request, of a binding and a stream, needs there.
    """

    log: StreamLog
    ready: Callable[[str], Awaitable[Engine]]
    dressed: Callable[[Engine, Request, str, str], Engine]
    timeouts: Timeouts
    metrics: Metrics
    now_ms: Callable[[], int]


class Run:
    """Writes exactly one `Start`, then the engine's events, then exactly one terminal.

    `Start` is handed over with the first thing that the engine yields: its time is the time of
    acceptance, and a failure before that is `Start` and `Failed` in one batch, which readers that
    have sent nothing yet can tell their client as an error.
    """

    def __init__(self, head: Head, attempts: Sequence[Attempt], around: Surroundings) -> None:
        self.head = head
        self.stream = StreamId(head.stream)
        self.task: asyncio.Task[None] | None = None
        self.outcome = "live"
        self._attempts = attempts
        self._around = around
        self._log = around.log
        self._loop = asyncio.get_running_loop()
        self._deadline = Deadline(self._loop, around.timeouts, self._expired)
        self._answering = attempts[0]
        self._stopped_by: GatewayError | None = None
        self._accepted = False
        self._ended = False
        self._entered = False
        self._stopped = False
        self._begun = self._loop.time()

    def cancel(self, because: GatewayError | None = None) -> bool:
        """Stops the engine. The stream ends as cancelled, or as failed with `because`."""
        if self._ended or self.task is None or self.task.done():
            return False
        if self._stopped_by is None:
            self._stopped_by = because
        self._stopped = True
        # A task cancelled before its first step never runs at all: its stream would not end.
        if self._entered:
            self.task.cancel()
        return True

    def _expired(self) -> None:
        what = "the next token" if self._deadline.said else "the first token"
        self.cancel(EngineTimeoutError(f"the engine was silent for too long before {what}"))

    async def run(self) -> None:
        """The whole run. Raises nothing: one engine's bug must not end the others' runs."""
        self._entered = True
        self._around.metrics.waiting += 1
        try:
            if self._stopped:
                raise asyncio.CancelledError
            await self._try_all()
        except asyncio.CancelledError:
            error = self._stopped_by
            await self._end(Done(reason="cancelled") if error is None else _failure(error))
        except GatewayError as error:
            await self._end(_failure(error))
        except Exception:
            logger.exception("stream %s: the engine of %s broke", *self._where())
            await self._end(_failure(InternalError("internal error")))
        finally:
            self._deadline.stop()
            if not self._accepted:
                self._around.metrics.waiting -= 1
            self._count()

    async def _try_all(self) -> None:
        for attempt in self._attempts:
            self._answering = attempt
            if attempt.request.task == "generate":
                self._deadline.start()
            try:
                engine = await self._around.ready(attempt.binding)
                engine = self._around.dressed(engine, attempt.request, attempt.binding, self.stream)
                await self._attempt(engine, attempt)
            except (LogUnavailableError, InvalidRequestError):
                raise
            except GatewayError as error:
                if self._accepted or attempt is self._attempts[-1]:
                    raise
                logger.info("stream %s: %s failed, trying the next: %s", *self._where(), error)
            else:
                return

    async def _attempt(self, engine: Engine, attempt: Attempt) -> None:
        request = msgspec.structs.replace(attempt.request, model=attempt.own or attempt.model)
        drawn = request.modality == "image"
        batches = self._drawn(engine, request) if drawn else choices.stream(engine, request)
        silent = _SILENT_PAINTER if drawn else _SILENT
        time, append, gap = self._loop.time, self._log.append, self._around.metrics.gap
        last = 0.0
        async with aclosing(batches):
            async for batch in batches:
                for event in batch:
                    if type(event) in _ODD:
                        batch = self._sorted_out(batch)
                        break
                if not self._accepted:
                    batch = [self._start(), *batch]
                if not batch:
                    continue
                if type(batch[-1]) not in silent:
                    now = time()
                    self._deadline.touch(now)
                    if last:
                        gap.observe(now - last)
                    else:
                        self._around.metrics.first_token.observe(now - self._begun)
                    last = now
                try:
                    append(self.stream, batch)
                except LogFullError:
                    await self._append(batch)
                if not self._accepted or type(batch[-1]) in _TERMINAL:
                    self._taken(batch)
                if self._ended:
                    return
        raise EngineProtocolError("the engine stopped without saying how it ended")

    def _taken(self, batch: Sequence[Event]) -> None:
        """The log has taken the first batch, or the last. Not before: a stream that lacks its
        `Start` or its terminal would never end for its readers.
        """
        if not self._accepted:
            self._accepted = True
            self._around.metrics.waiting -= 1
        self._ended = type(batch[-1]) in _TERMINAL

    def _drawn(self, engine: Engine, request: Request) -> AsyncGenerator[Sequence[Event]]:
        album = pictures.Kept(self._log, self.stream)
        batches = pictures.painted(engine, request, album)
        return cast("AsyncGenerator[Sequence[Event]]", batches)

    def _sorted_out(self, batch: Sequence[Event]) -> list[Event]:
        """Without what only a run may say, and nothing after the terminal."""
        kept: list[Event] = []
        for event in batch:
            if isinstance(event, Start):
                continue
            kept.append(event)
            if isinstance(event, Usage):
                self._used(event)
            elif type(event) in _TERMINAL:
                self.outcome = event.reason if isinstance(event, Done) else "failed"
                break
        return kept

    async def _append(self, batch: Sequence[Event]) -> None:
        while True:
            try:
                self._log.append(self.stream, batch)
            except LogFullError:
                await self._log.settled(self.stream)
            else:
                return

    async def _end(self, terminal: Failed | Done) -> None:
        if not self._ended:
            self._ended = True
            self.outcome = terminal.reason if isinstance(terminal, Done) else terminal.code
            try:
                await self._append([terminal] if self._accepted else [self._start(), terminal])
            except GatewayError as error:
                # Not only `LogUnavailableError`: a log that was in trouble and is well again has
                # closed, or forgotten, the streams that lost something, and takes no more of them.
                logger.warning("stream %s ends unlogged: %s", self.stream, error.message)
                self.outcome = LogUnavailableError.code

    def _start(self) -> Start:
        return Start(
            stream=self.stream,
            asked=self.head.request.model,
            binding=self._answering.binding,
            model=self._answering.model,
            created=self._around.now_ms(),
            engine=self._answering.engine,
        )

    def _where(self) -> tuple[str, str]:
        return self.stream, self._answering.binding

    def _used(self, usage: Usage) -> None:
        answering, tokens = self._answering, self._around.metrics.tokens
        tokens[answering.binding, answering.model, "input"] += usage.input_tokens
        tokens[answering.binding, answering.model, "output"] += usage.output_tokens

    def _count(self) -> None:
        # A name that no engine has accepted is the client's invention: never a label.
        model = self._answering.model if self._accepted else ""
        key = (self.head.dialect, self._answering.binding, model, self.outcome)
        self._around.metrics.requests[key] += 1


def _failure(error: GatewayError) -> Failed:
    return Failed(
        code=error.code, message=error.message, retryable=error.retryable, param=error.param
    )
