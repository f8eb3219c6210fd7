"""A pseudo-terminal that answers as one of the known kinds does."""

import asyncio
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

from tests.integration.serving import ROOT, free_port

ANSWERS: dict[str, dict[bytes, bytes]] = {
    "kitty": {
        b"a=q": b"\x1b_Gi=31;OK\x1b\\",
        b"\x1b[>q": b"\x1bP>|kitty(0.35.2)\x1b\\",
        b"\x1b[c": b"\x1b[?62;c",
    },
    "sixel": {b"\x1b[>q": b"\x1bP>|XTerm(390)\x1b\\", b"\x1b[c": b"\x1b[?64;1;2;4;6;9;22c"},
    "iterm2": {b"\x1b[>q": b"\x1bP>|iTerm2 3.5.4\x1b\\", b"\x1b[c": b"\x1b[?62;4c"},
    "plain": {b"\x1b[c": b"\x1b[?1;2c"},
    "silent": {},
}
"""What a terminal says to what it is asked; to anything else it is silent.

Sources: kitty's graphics protocol; xterm's ctlseqs (DA1: 4 is sixel); iTerm2's own source of
XTVERSION (`VT100Terminal.m`): it answers DA1 with 4 as well.
"""
_COLUMNS, _LINES, _CELL = 100, 40, (8, 16)


class Screen:
    """A command on such a terminal. `seen`: all that it wrote."""

    def __init__(self, folder: Path, kind: str, *words: str, **environment: str) -> None:
        self.seen = b""
        self._answers = dict(ANSWERS[kind])
        self._master, slave = pty.openpty()
        pixels = (_COLUMNS * _CELL[0], _LINES * _CELL[1])
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, *pixels))
        own = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "src"),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "PENSTOCK_SERVER__PORT": str(free_port()),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "penstock.cli", *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=own | environment,
        )
        os.close(slave)
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        asked = b""
        while True:
            ready = select.select([self._master], [], [], 0.05)[0]
            if not ready and self.process.poll() is not None:
                return
            if not ready:
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the other end is closed
                return
            self.seen += data
            asked = (asked + data)[-256:]
            for question in [one for one in self._answers if one in asked]:
                os.write(self._master, self._answers[question])
                asked = asked.replace(question, b"")

    async def wait_for(self, text: bytes) -> None:
        """Until it has been written."""
        async with asyncio.timeout(60):
            while text not in self.seen:
                assert self.process.poll() is None, self.seen.decode(errors="replace")
                await asyncio.sleep(0.02)

    async def status(self) -> int:
        """The exit status, once it has left and all was read."""
        async with asyncio.timeout(60):
            found = await asyncio.to_thread(self.process.wait)
            await asyncio.to_thread(self._reading.join)
        os.close(self._master)
        return found
