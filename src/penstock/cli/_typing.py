"""What the user says: typed with a history, or from a pipe."""

import asyncio
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from typing_extensions import override

_PROMPT: Final = "you> "


class Lines(Protocol):
    """Where lines come from."""

    async def line(self) -> str | None:
        """The next line; `None` at the end. Raises `KeyboardInterrupt` for Ctrl-C at a prompt."""


class Typed(Lines):
    """A prompt with arrow keys, a history that lasts, and completion of the commands."""

    def __init__(self, history: Path, commands: list[str]) -> None:
        self._session: PromptSession[str] = PromptSession(
            history=_history(history), completer=WordCompleter(commands, sentence=True)
        )

    @override
    async def line(self) -> str | None:
        try:
            line = await self._session.prompt_async(_PROMPT)
            return line.encode(errors="replace").decode()  # bytes of no encoding are surrogates
        except EOFError:
            return None


class Piped(Lines):
    """Lines of standard input.

    They are read in a thread that nobody waits for at the end: a pipe may stay silent for ever.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    @override
    async def line(self) -> str | None:
        return await self._lines.get()

    def _read(self) -> None:
        # Not through sys.stdin: its lock, held by a waiting thread, would abort the interpreter.
        if sys.stdin is not None:  # as it is when it was closed (`<&-`)
            with (
                suppress(OSError),  # what can't be read is at its end
                os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0) as stdin,
            ):
                while line := stdin.readline():
                    self._put(line.decode(errors="replace").rstrip("\r\n"))
        self._put(None)

    def _put(self, line: str | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._lines.put_nowait, line)


def at_terminal() -> bool:
    """Whether a person types. Standard input may be closed."""
    return sys.stdin is not None and sys.stdin.isatty()


def _history(path: Path) -> History:
    """A file of the user's alone; in memory where none can be made."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))
