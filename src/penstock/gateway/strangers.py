"""Python that this server's owner wrote: loaded from its file, kept from breaking more than a run.

Such code runs inside the server with all its rights. Nothing is ever loaded that the configuration
does not name, and nothing is installed for it.
"""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Final, Generic, TypeVar

from penstock.core.errors import ConfigError, GatewayError, InternalError

T = TypeVar("T")
logger = logging.getLogger(__name__)

_FAULTS: Final = (Exception, SystemExit, GeneratorExit)
"""What such code may raise without ending the server."""


def _is_fault(error: BaseException | None) -> bool:
    """Also a cancellation that nobody asked this task for: that of something it waited for."""
    if not isinstance(error, asyncio.CancelledError):
        return isinstance(error, _FAULTS)
    try:
        task = asyncio.current_task()
    except RuntimeError:  # in a thread, which nobody cancels
        return True
    return task is None or not task.cancelling()


def words(error: BaseException | None) -> str:
    """The kind of an exception and its own words, where it has any that can be had."""
    said = ""
    with suppress(Exception):
        said = str(error)
    return f"{type(error).__name__}: {said}"


def sound(text: str) -> str:
    """A text that can be written: half of a character, as odd file names hold, becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class Caught:
    """What went wrong inside, instead of raising it. Of the caller's own cancellation: nothing."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> "Caught":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self.error = error
        return _is_fault(error)


class Blamed:
    """What goes wrong inside is logged, and told as an `InternalError` that only names its kind.

    The words of a stranger's exception may hold what no client should read. A `GatewayError` was
    worded for clients and passes as it is.
    """

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, GatewayError) or not _is_fault(error):
            return
        logger.error("%s failed", self._what, exc_info=error)
        raise InternalError(f"{self._what} failed: {type(error).__name__}") from error


def load(file: Path, name: str, setting: str) -> ModuleType:
    """The module of a file, run once. Raises `ConfigError` of `setting`, saying what went wrong."""
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{setting}: {file.name} is no Python file", param=setting)
    module = module_from_spec(spec)
    # Dataclasses and the like look for their module there while it is still being run.
    sys.modules[name] = module
    with Caught() as caught:
        spec.loader.exec_module(module)
    if caught.error is not None:
        del sys.modules[name]
        fault = words(caught.error)
        raise ConfigError(f"{setting}: {file.name} can't be loaded: {fault}", param=setting)
    return module


class Threads:
    """Blocking calls, each in a thread of its own, `most` at a time; more wait for a place.

    A thread can't be stopped: the call of a cancelled task runs on, keeps its place until it ends,
    and what it returns is dropped. It does not keep the process from ending.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._busy = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, or raises."""
        while self._busy >= self._most:
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place
            finally:
                if place in self._waiting:
                    self._waiting.remove(place)
        self._busy += 1
        call = _Call(work, self._left)
        return await call.result()

    def _left(self) -> None:
        self._busy -= 1
        # All of them look: one whose task was just cancelled must not take the place along.
        waiting, self._waiting = self._waiting, []
        for place in waiting:
            if not place.done():
                place.set_result(None)


class _Call(Generic[T]):
    def __init__(self, work: Callable[[], T], left: Callable[[], None]) -> None:
        self._work = work
        self._left = left
        self._loop = asyncio.get_running_loop()
        self._found: list[T] = []
        self._caught = Caught()
        self._ended = asyncio.Event()
        threading.Thread(target=self._run, name="penstock-script", daemon=True).start()

    def _run(self) -> None:
        with self._caught:
            self._found.append(self._work())
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._left()
        self._ended.set()

    async def result(self) -> T:
        await self._ended.wait()
        if self._caught.error is not None:
            raise self._caught.error
        return self._found[0]
