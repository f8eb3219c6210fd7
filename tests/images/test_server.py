"""Pictures through a real server in a process of its own, read over HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from tests.images.conftest import Make
from tests.images.painting import ROOT, ask, opened
from tests.integration.serving import free_port

from penstock.core.request import Request

pytestmark = pytest.mark.images

CONFIG = """
[server]
port = {port}
[streams]
folder = "{folder}/streams"
[bindings.drawing]
engine = "diffusers"
path = "{path}"
max_pixels = 1048576
"""


class Server:
    """`tests.images.server` on one folder; started again, it is the restart."""

    def __init__(self, folder: Path, pipeline: Path) -> None:
        self.folder = folder
        config = folder / "config.toml"
        config.write_text(CONFIG.format(port=free_port(), folder=folder, path=pipeline))
        environment = {"HOME": str(folder), "PATH": os.environ["PATH"]}
        environment["PYTHONPATH"] = str(ROOT / "src")
        with (folder / "said.log").open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.images.server", str(config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=ROOT,
                env=environment,
            )
        try:
            self.url = self._line()
        except AssertionError:
            self.stop()
            raise

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode().strip()
        assert line, (self.folder / "said.log").read_text()
        return line

    def submit(self, request: Request) -> str:
        """The id of its stream, or why it was refused."""
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(request) + b"\n")
        self.process.stdin.flush()
        return self._line()

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return bytes(answer.read())

    def post(self, path: str) -> bytes:
        request = urllib.request.Request(self.url + path, method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def picture(self, stream: str, blob: dict[str, str]) -> bytes:
        return self.get(f"/v1/streams/{stream}/blobs/{blob['sha256']}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As Ctrl-C does, once no more requests come."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"), make("text"))
    yield made
    made.stop()


@dataclass
class Watcher:
    """Reads a stream's events in a thread, as they come."""

    server: Server
    stream: str
    events: list[dict[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        url = f"{self.server.url}/v1/streams/{self.stream}"
        with suppress(OSError), urllib.request.urlopen(url, timeout=60) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    self.events.append(json.loads(line[6:])["event"])

    def until(self, kind: str, what: str = "", has: str = "type") -> dict[str, object]:
        for _ in range(3000):
            for event in list(self.events):
                if event["type"] == kind and what in ("", event.get("what")) and has in event:
                    return event
            time.sleep(0.01)
        raise AssertionError(f"no {kind} {what} with {has} in {self.events}")

    def whole(self) -> list[dict[str, object]]:
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.events


def test_a_picture_is_a_stream_like_any_other(server: Server):
    stream = server.submit(ask(steps=8, seed=3))
    one, other = Watcher(server, stream), Watcher(server, stream)
    events = one.whole()
    assert other.whole() == events
    assert events[0]["type"] == "start"
    assert events[0]["binding"] == "drawing"
    assert [e["at"] for e in events if e.get("what") == "step"] == list(range(1, 9))
    previews = [e["preview"] for e in events if "preview" in e]
    assert previews
    for preview in previews:
        assert opened(server.picture(stream, preview)).format == "JPEG"  # type: ignore[arg-type]
    image = one.until("image")
    drawn = opened(server.picture(stream, image["blob"]))  # type: ignore[arg-type]
    assert drawn.info["prompt"] == "a red circle"
    assert (image["seed"], drawn.size) == (3, (64, 64))
    assert [e["type"] for e in events[-3:]] == ["image", "usage", "done"]
    assert Watcher(server, stream).whole() == events


def test_a_run_is_cancelled_over_http(server: Server):
    stream = server.submit(ask(steps=150, count=10))
    watcher = Watcher(server, stream)
    watcher.until("progress", "step")
    assert json.loads(server.post(f"/v1/streams/{stream}/cancel"))["cancelled"] is True
    events = watcher.whole()
    assert events[-1] == {"type": "done", "reason": "cancelled"}
    assert "image" not in {event["type"] for event in events[:150]}
    assert Watcher(server, server.submit(ask())).whole()[-1]["reason"] == "stop"


def test_those_who_wait_are_told_where_they_stand(server: Server):
    long = Watcher(server, server.submit(ask(steps=150, count=10)))
    long.until("progress", "step")
    waiting = [Watcher(server, server.submit(ask(seed=n))) for n in range(3)]
    for n, watcher in enumerate(waiting, 1):
        told = watcher.until("progress", "queued")
        assert told["at"] == n
    server.post(f"/v1/streams/{long.stream}/cancel")
    began = [watcher.whole()[0]["created"] for watcher in waiting]
    assert began == sorted(began)  # type: ignore[type-var]
    assert [watcher.whole()[-1]["reason"] for watcher in waiting] == ["stop"] * 3


def test_what_can_not_be_done_is_refused_before_it_waits(server: Server):
    answer = server.submit(ask(quality="hd"))
    assert answer.startswith("refused unsupported_parameter quality the binding 'drawing'")
    stream = server.submit(ask(sampler="best"))
    events = Watcher(server, stream).whole()
    assert [event["type"] for event in events] == ["start", "failed"]
    assert events[-1]["code"] == "invalid_request"
    assert re.match("sampler: 'best' is not one of", str(events[-1]["message"]))


def children(process: int) -> list[int]:
    """Processes that a process started, by Linux' own list."""
    found = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for path in found for child in path.read_text().split()]


def drawers(process: int) -> list[int]:
    return [
        child
        for child in children(process)
        if b"_diffusers_worker" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_a_killed_server_leaves_an_honest_end_and_no_process(make: Make, tmp_path: Path):
    server = Server(tmp_path, make("text"))
    stream = server.submit(ask(steps=150, count=10))
    watcher = Watcher(server, stream)
    shown = watcher.until("progress", "step", has="preview")["preview"]
    (drawer,) = drawers(server.process.pid)
    server.kill()
    for _ in range(500):
        if not _computes(drawer):
            break
        time.sleep(0.01)
    assert not _computes(drawer)
    server.stop()
    again = Server(tmp_path, make("text"))
    try:
        events = Watcher(again, stream).whole()
        assert events[-1]["type"] == "failed"
        assert events[-1]["code"] == "interrupted"
        assert opened(again.picture(stream, shown)).format == "JPEG"  # type: ignore[arg-type]
        assert Watcher(again, again.submit(ask())).whole()[-1]["reason"] == "stop"
    finally:
        again.stop()


def _computes(process: int) -> bool:
    """Whether a process is there and no zombie that nobody has collected yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_server_answers_while_it_draws(make: Make, tmp_path: Path):
    """Counted, not timed: the health of a server is asked for over and over during a run."""
    server = Server(tmp_path, make("text"))
    try:
        watcher = Watcher(server, server.submit(ask(steps=40, size=(128, 128))))
        asked = 0
        while watcher.thread.is_alive():
            assert json.loads(server.get("/health"))["status"] == "ok"
            asked += 1
        steps = [event for event in watcher.whole() if event.get("what") == "step"]
        assert asked > len(steps)
    finally:
        server.stop()
