"""`penstock chat` at a real terminal: arrow keys, Ctrl-C, rendering."""

import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.integration.serving import END, FINISH, ROOT, SSE_HEAD, Upstream, free_port, said

pytestmark = pytest.mark.timeout(180)

PROMPT = "⟦prompt⟧"
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x1b\][^\x07]*\x07")


class Terminal:
    """A process on a pseudo-terminal. `seen` is all that it wrote."""

    def __init__(self, process: int, master: int) -> None:
        self.process = process
        self._master = master
        self.seen = b""
        self._at = 0

    @property
    def shown(self) -> str:
        """The text, without escapes; `PROMPT` where a prompt began to read."""
        marked = self.seen.replace(b"\x1b[?2004h", PROMPT.encode())
        return _ESCAPES.sub(b"", marked).decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Until `text` has been shown after what was waited for before."""
        end = time.monotonic() + seconds
        while text not in self.shown[self._at :]:
            assert time.monotonic() < end, f"no {text!r} in {self.shown[-2000:]!r}"
            ready, _, _ = select.select([self._master], [], [], 0.2)
            if ready:
                data = os.read(self._master, 65536)
                if b"\x1b[6n" in data:  # where is the cursor? at the top left
                    os.write(self._master, b"\x1b[1;1R")
                self.seen += data
        self._at = self.shown.index(text, self._at) + len(text)

    def status(self, seconds: float = 60) -> int:
        """The exit status, once it has left."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                return os.waitstatus_to_exitcode(status)
            if select.select([self._master], [], [], 0.1)[0]:
                with suppress(OSError):  # the other end is closed
                    self.seen += os.read(self._master, 65536)
        raise AssertionError(f"still there: {self.shown[-2000:]!r}")


@contextmanager
def terminal(folder: Path, *words: str, **environment: str) -> Iterator[Terminal]:
    own = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "TERM": "xterm-256color",
        "PENSTOCK_SERVER__PORT": str(free_port()),
        "COLUMNS": "100",
        "LINES": "40",
    }
    process, master = pty.fork()
    if process == 0:
        os.chdir(folder)
        command = [sys.executable, "-m", "penstock.cli", *words]
        os.execve(sys.executable, command, own | environment)
    found = Terminal(process, master)
    try:
        yield found
    finally:
        try:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(master)


def test_a_conversation_with_history_on_the_arrow_keys(tmp_path: Path):
    with terminal(tmp_path, "chat") as screen:
        screen.wait_for(PROMPT)
        screen.type("/system Talk like a pirate.\r")
        screen.wait_for("(system prompt: Talk like a pirate.)")
        screen.wait_for(PROMPT)
        screen.type("Hello!\r")
        screen.wait_for(PROMPT)
        screen.type("\x1b[A\x1b[A")
        screen.wait_for("/system Talk like a pirate.")
        screen.type("\x03")
        screen.wait_for("Ctrl-D leaves")
        screen.wait_for(PROMPT)
        screen.type("/quit\r")
        assert screen.status() == 0
    history = tmp_path / ".local/state/penstock/chat_history"
    assert "+Hello!" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_ctrl_c_stops_the_reply_really_and_keeps_what_arrived(tmp_path: Path):
    answer: list[bytes | float | str] = [
        SSE_HEAD,
        said("# Half\\n\\nThis is **bold** and"),
        "stall",
    ]
    upstream = Upstream([answer, [SSE_HEAD, said("Whole."), FINISH, END]])
    config = tmp_path / "client.toml"
    config.write_text(
        f'[api]\nendpoint = "{upstream.url}/v1"\n[defaults]\nmodel = "m"\ntimeout = 100\n'
    )
    try:
        with terminal(tmp_path, "chat", "-c", str(config)) as screen:
            screen.wait_for(PROMPT)
            screen.type("First\r")
            screen.wait_for("This is bold and")
            screen.type("\x03")
            screen.wait_for("(stopped here)")
            assert upstream.gone.wait(20)
            screen.wait_for(PROMPT)
            screen.type("Second\r")
            screen.wait_for("Whole.")
            screen.wait_for(PROMPT)
            screen.type("/save talk.md\r")
            screen.wait_for("(saved as talk.md)")
            screen.wait_for(PROMPT)
            screen.type("\x04")
            assert screen.status() == 0
            assert b"\x1b[1mbold" in screen.seen
    finally:
        upstream.close()
    assert "This is **bold** and\n\n*(stopped here)*" in (tmp_path / "talk.md").read_text()
    sent = upstream.requests[1].partition(b"\r\n\r\n")[2]
    assert b"This is **bold** and" in sent


def test_ctrl_c_stops_the_embedded_model(tmp_path: Path):
    with terminal(tmp_path, "chat", "--max-tokens", "900", "--temperature", "0") as screen:
        screen.wait_for(PROMPT)
        screen.type("Tell me a very long story about a dragon.\r")
        screen.wait_for("Once")
        screen.type("\x03")
        screen.wait_for(PROMPT)
        screen.type("Hello!\r")
        screen.wait_for(PROMPT)
        screen.type("/quit\r")
        assert screen.status() == 0
