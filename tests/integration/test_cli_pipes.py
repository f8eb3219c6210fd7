"""Output that is closed or full, input that is closed, odd encodings, Ctrl-C: the status is one of
the documented ones, and there is a line or none, never a traceback.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.serving import END, FINISH, ROOT, SSE_HEAD, Upstream, said

SECONDS = 60
SPOKEN = [SSE_HEAD, said("Once "), said("upon"), FINISH, END]
STALLED = [SSE_HEAD, said("Once "), said("upon"), "stall"]


class Command:
    """Commands of somebody whose server is scripted."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "src"),
            "DEMO": str(ROOT / "src/penstock/models/penstock-demo.gguf"),
        }

    def shell(
        self, line: str, stdout: int = subprocess.PIPE, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """`line` of bash, where `penstock` is the command; the status of a pipe is its worst."""
        own = f'penstock() {{ "{sys.executable}" -m penstock.cli "$@"; }}; set -o pipefail; {line}'
        return subprocess.run(
            ["bash", "-c", own],
            env=self._environment | environment,
            cwd=self.home,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=SECONDS,
        )

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "penstock.cli", *words],
            env=self._environment,
            cwd=self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


@pytest.fixture
def upstream(request: pytest.FixtureRequest) -> Iterator[Upstream]:
    found = Upstream([getattr(request, "param", SPOKEN)])
    yield found
    found.close()


@pytest.fixture
def command(tmp_path: Path, upstream: Upstream) -> Command:
    config = f'[api]\nendpoint = "{upstream.url}/v1"\n[defaults]\nmodel = "m"\n'
    (tmp_path / "client.toml").write_text(config)
    return Command(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    "line",
    [
        "penstock stream -c client.toml x",
        "penstock stream -c client.toml --json x",
        "penstock models -c client.toml",
        "echo x | penstock chat -c client.toml",
        "penstock stream --example",
        "penstock pull $DEMO",
    ],
)
def test_a_full_output_is_one_line(command: Command, line: str):
    done = command.shell(f"{line} >/dev/full")
    assert (done.returncode, done.stderr) == (
        1,
        "penstock: output can't be written: No space left on device\n",
    )


@pytest.mark.parametrize(
    "line",
    [
        "penstock stream -c client.toml x",
        "penstock models -c client.toml",
        "echo x | penstock chat -c client.toml",
    ],
)
def test_a_reader_that_leaves_needs_no_word(command: Command, line: str):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = command.shell(line, stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("closed", ["<&-", "0>nothing"])
def test_an_input_that_cannot_be_read_is_at_its_end(command: Command, closed: str):
    done = command.shell(f"penstock chat -c client.toml {closed}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_a_terminal_has_no_letter_for_is_no_failure(command: Command):
    done = command.shell("penstock stream -c client.toml x", PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Once upon" in done.stdout
    assert "? Streaming finished!" in done.stdout


@pytest.mark.parametrize("upstream", [STALLED], indirect=True)
def test_ctrl_c_ends_a_piped_conversation(command: Command, upstream: Upstream):
    process = command.start("chat", "-c", "client.toml")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"One\nTwo\n")
    process.stdin.flush()
    seen = b""
    while b"upon" not in seen:
        seen += os.read(process.stdout.fileno(), 65536)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (130, b"")
    assert len(upstream.requests) == 1
