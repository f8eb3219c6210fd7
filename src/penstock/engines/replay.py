"""Plays recorded streams at a given pace, whatever is asked. For tests, demos and benchmarks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta

from penstock.config import paths
from penstock.core.cards import ModelCard
from penstock.core.errors import (
    BindingDownError,
    EngineError,
    EngineProtocolError,
    UnknownModelError,
)
from penstock.core.events import TERMINAL, Entry, Event, Failed, Seq, Start
from penstock.core.ports import Timeouts
from penstock.core.request import Modality, Request, Sampling
from penstock.wire import json

_SUFFIX: Final = ".jsonl"
_Beat = tuple[float, Sequence[Event]]
"""Milliseconds since the beginning, and what comes then."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[bindings.NAME]` with `engine = "replay"`."""

    path: Annotated[
        str,
        Meta(
            description="A recording, or a folder of them: `NAME.jsonl` is the model NAME. One "
            "event, or one entry of a stream's log, as JSON a line."
        ),
    ]
    model: Annotated[
        str | None, Meta(description="The recording that is played when a request names none.")
    ] = None
    speed: Annotated[
        float,
        Meta(ge=0, description="1: with the gaps of the recording; 2: twice as fast; 0: at once."),
    ] = 1.0
    interval_ms: Annotated[
        float, Meta(ge=0, description="Gap between batches, instead of the recording's own.")
    ] = 0.0
    batch: Annotated[int, Meta(ge=1, description="Events a batch, where no time divides them.")] = 1
    repeat: Annotated[
        int, Meta(ge=1, description="How often what comes before the end is played.")
    ] = 1
    fail_after: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Break the stream after this many events."),
    ] = None


class _Line(msgspec.Struct, frozen=True):
    """What tells an entry from an event."""

    type: str | None = None


class _Bare(msgspec.Struct, frozen=True):
    event: Event


class Engine:
    """Recordings of one file or folder, read when they are first played."""

    description: ClassVar[str] = "Plays recorded streams, whatever is asked"
    supports: ClassVar[frozenset[str]] = frozenset(Sampling.__struct_fields__) | {
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reply_format",
        "effort",
        "images",
        "raw",
        "suffix",
    }
    outputs: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, config: Config, timeouts: Timeouts) -> None:
        del timeouts  # nothing here can be slow
        self._config = config
        self._path = paths.place(config.path)
        self._read: dict[Path, tuple[int, tuple[Entry, ...]]] = {}

    async def start(self) -> None:
        """Looks whether there is something to play. Raises `BindingDownError`."""
        if not await self.models():
            raise BindingDownError(f"there is no recording (*{_SUFFIX}) in `path`")

    async def stream(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        """Plays the recording that the model names."""
        entries = await self._recording(request.model or self._config.model or "")
        yield ()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        left = self._config.fail_after
        for ms, batch in self._beats(entries):
            wait = begun + ms / 1000 - loop.time()
            await asyncio.sleep(max(wait, 0.0))
            if left is not None and left < len(batch):
                yield [*batch[:left], _broken(self._config.fail_after or 0)]
                return
            left = None if left is None else left - len(batch)
            yield batch

    async def models(self) -> Sequence[ModelCard]:
        """The names of the recordings. Raises `BindingDownError` when `path` can't be read."""
        try:
            paths = await asyncio.to_thread(self._paths)
        except OSError as error:
            raise BindingDownError("`path` is no recording and no folder") from error
        return [ModelCard(name=name) for name in paths]

    async def aclose(self) -> None:
        """Forgets what it has read."""
        self._read.clear()

    def _paths(self) -> dict[str, Path]:
        if self._path.is_dir():
            return {path.stem: path for path in sorted(self._path.glob(f"*{_SUFFIX}"))}
        self._path.stat()
        return {self._path.stem: self._path}

    async def _recording(self, name: str) -> tuple[Entry, ...]:
        try:
            paths = await asyncio.to_thread(self._paths)
            if not name and len(paths) == 1:
                name = next(iter(paths))
            if name not in paths:
                raise UnknownModelError(f"there is no recording named {name!r}", param="model")
            return await asyncio.to_thread(self._load, paths[name])
        except OSError as error:
            raise BindingDownError("the recording can't be read") from error

    def _load(self, path: Path) -> tuple[Entry, ...]:
        changed = path.stat().st_mtime_ns
        known = self._read.get(path)
        if known is None or known[0] != changed:
            lines = path.read_bytes().splitlines()
            known = (changed, tuple(_entry(n, line) for n, line in enumerate(lines) if line))
            self._read[path] = known
        return known[1]

    def _beats(self, entries: Sequence[Entry]) -> list[_Beat]:
        """Everything that is said, in batches with their times."""
        said = [e for e in entries if not isinstance(e.event, (Start, *TERMINAL))]
        last = entries[-1] if entries and isinstance(entries[-1].event, TERMINAL) else None
        if last is None:
            unended = Failed(code=EngineProtocolError.code, message="the recording has no end")
            last = Entry(Seq(len(said)), said[-1].ms if said else 0, unended)
        config = self._config
        if config.speed == 0 or config.interval_ms or not last.ms:
            events = [e.event for e in said] * config.repeat + [last.event]
            batches = [events[n : n + config.batch] for n in range(0, len(events), config.batch)]
            return [(n * config.interval_ms, batch) for n, batch in enumerate(batches)]
        times: dict[float, list[Event]] = {}
        for turn in range(config.repeat):
            for e in said:
                times.setdefault((turn * last.ms + e.ms) / config.speed, []).append(e.event)
        times.setdefault(config.repeat * last.ms / config.speed, []).append(last.event)
        return list(times.items())


def _entry(n: int, line: bytes) -> Entry:
    try:
        if json.decode(line, _Line, EngineProtocolError).type is None:
            return json.decode(line, Entry, EngineProtocolError)
        event = json.decode(b'{"event":' + line + b"}", _Bare, EngineProtocolError).event
    except EngineProtocolError as error:
        raise EngineProtocolError(f"line {n + 1} of the recording: {error.message}") from error
    return Entry(Seq(n + 1), 0, event)


def _broken(after: int) -> Failed:
    return Failed(
        code=EngineError.code,
        message=f"broken off after {after} events, as the configuration asks",
        retryable=EngineError.retryable,
    )
