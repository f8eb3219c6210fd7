"""The process that draws, as the gateway sees it: started when needed, and again when it died."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from penstock.core.errors import ConfigError, EngineError, UnavailableError
from penstock.engines._diffusers_messages import (
    Ask,
    Broke,
    Draw,
    Facts,
    Open,
    Opened,
    Over,
    Refused,
    Report,
    Stop,
    packed,
    reports_of,
)

logger = logging.getLogger(__name__)

_MODULE: Final = "penstock.engines._diffusers_worker"
_NEEDED: Final = ("torch", "diffusers", "transformers")
_READ: Final = 1 << 20
_BEAT: Final = 20.0
"""Seconds between two signs of life while nothing can be told."""
_FAREWELL: Final = 5.0
_QUIET: Final = {
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def check_installed() -> None:
    """Raises `ConfigError` when what draws isn't here. Imports nothing."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the engine 'diffusers' needs {', '.join(missing)}: `make setup-images`, or "
            "pip install 'penstock[diffusers]'"
        )


class Process:
    """One process, one pipeline in it, one run at a time; whoever uses it holds the only slot.

    A run that is left in the middle is told to stop; the next who comes waits for the end of the
    step it is in, `patience` seconds at most: then the process is killed, and started anew.
    """

    def __init__(self, patience: float, *, download: bool) -> None:
        self._patience = patience
        self._download = download
        self._process: asyncio.subprocess.Process | None = None
        self._buffer = bytearray()
        self.facts: Facts | None = None
        self._open: Open | None = None
        self._opening: Open | None = None
        self._job = 0
        self._busy = 0
        self._left_at = 0.0
        self._closed = False

    def holds(self, ask: Open) -> bool:
        """Whether this pipeline is loaded, as far as is known."""
        return self._alive and self._open == ask

    @property
    def _alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Of the process; 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    async def opened(self, ask: Open) -> AsyncGenerator[None]:
        """Loads a pipeline; says at once, and now and then, that it lasts. Then there are `facts`.

        Whoever leaves in the middle leaves the loading to be finished, for the next who comes.
        Raises `ConfigError` for one that can't be loaded, `EngineError` for lack of memory or when
        the process died of it.
        """
        self._open = None
        if not self._alive:
            self._forget()
            await self._spawn()
        self._opening = ask
        self._send(ask)
        yield
        while self._opening is not None:
            try:
                async with asyncio.timeout(_BEAT):
                    reports = await self._read("while it loaded the model")
            except TimeoutError:
                yield
                continue
            for report in reports:
                await self._note(report)
                if isinstance(report, Refused):
                    if report.memory:
                        raise EngineError(f"no memory to load the model: {report.message}")
                    raise ConfigError(self._hint(ask, report), param="path")

    def _hint(self, ask: Open, refused: Refused) -> str:
        why = f"the model can't be loaded: {refused.message}"
        if Path(ask.source).is_dir() or self._download:
            return why
        return f"{why}. `allow_download = true` lets it be fetched from the hub"

    async def settled(self, within: float) -> bool:
        """Waits until nothing of an earlier run computes any more, `within` seconds at most.

        The process may be gone after it.
        """
        patience = self._left_at + self._patience - asyncio.get_running_loop().time()
        allowed = min(within, max(patience, 0)) if self._busy else within
        try:
            async with asyncio.timeout(allowed):
                while self._busy or self._opening is not None:
                    for report in await self._read("after a run was stopped"):
                        await self._note(report)
        except TimeoutError:
            if patience > within or not self._busy:
                return False
            logger.warning("the process that draws did not let go of a run: it is killed")
            await self._reap()
        except EngineError as error:
            logger.warning("%s", error.message)
        return True

    def begin(self) -> int:
        """The number of a new run."""
        self._job += 1
        return self._job

    def draw(self, ask: Draw) -> None:
        """Hands a run in."""
        self._busy = ask.job
        self._send(ask)

    async def reports(self, job: int) -> list[Report]:
        """What has been said of a run since the last time, waiting for something."""
        while True:
            found = [r for r in await self._read("while it drew") if getattr(r, "job", 0) == job]
            for report in found:
                await self._note(report)
            if found:
                return found

    async def _note(self, report: Report) -> None:
        if isinstance(report, Opened):
            self.facts, self._open, self._opening = report.facts, self._opening, None
        elif isinstance(report, Refused):
            self._opening = None
        elif isinstance(report, Over | Broke) and report.job == self._busy:
            self._busy = 0
            if isinstance(report, Broke) and report.fatal:
                await self._reap()

    def stop(self, job: int) -> None:
        """Tells a run to end. Returns at once."""
        if self._busy == job:
            self._left_at = asyncio.get_running_loop().time()
            self._send(Stop(job=job))

    async def aclose(self) -> None:
        """Ends the process. What it computes is lost."""
        self._closed = True
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_FAREWELL):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        self._forget()

    # ── the process ──────────────────────────────────────────────────────────────────────────────

    async def _spawn(self) -> None:
        check_installed()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-Wignore::FutureWarning",
            "-m",
            _MODULE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **_QUIET, **self._network()},
            start_new_session=True,  # Ctrl-C is for the gateway, which then ends this in order
            limit=_READ,
        )
        self._buffer.clear()

    def _network(self) -> Mapping[str, str]:
        return {} if self._download else {"HF_HUB_OFFLINE": "1"}

    def _send(self, ask: Ask) -> None:
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(packed(ask))

    async def _read(self, when: str) -> list[Report]:
        """At least one message. Raises `EngineError` when the process has ended."""
        while True:
            process = self._process
            if process is None or process.stdout is None:
                raise UnavailableError("the engine is closed")
            data = await process.stdout.read(_READ)
            if self._closed:
                raise UnavailableError("the engine is closed")
            if not data:
                raise EngineError(await self._ended(process, when))
            self._buffer += data
            if reports := reports_of(self._buffer):
                return reports

    async def _ended(self, process: asyncio.subprocess.Process, when: str) -> str:
        code = await process.wait()
        if self._process is process:
            self._forget()
        if code >= 0:
            return f"the process that draws ended {when} (exit status {code})"
        name = signal.Signals(-code).name
        why = ": perhaps for lack of memory" if -code == signal.SIGKILL else ""
        return f"the process that draws was ended by {name} {when}{why}"

    async def _reap(self) -> None:
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            self._forget()

    def _forget(self) -> None:
        self._process = None
        self._open = None
        self._opening = None
        self._busy = 0
