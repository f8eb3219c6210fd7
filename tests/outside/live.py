"""One Penstock for the outside clients: the demo model beside scripted upstreams."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.serving import SSE_HEAD, Serving, Upstream, said, serve
from tests.outside.scripted import MODEL, Scripted

HERE = Path(__file__).parent
VENVS = HERE.parents[1] / ".venvs"
_BINDING = '[bindings.{name}]\nengine = "openai"\nurl = "{url}"\nmodel = "{model}"\n'
_MODEL = '[models.{name}]\nbinding = "{binding}"\nname = "{model}"\n'


@contextmanager
def penstock(folder: Path) -> Iterator[Serving]:
    """Models: `demo`, `scripted` (each also as `…-again`), `broken` (an upstream that resets
    after two pieces, a moment later) and `endless` (one that stalls after five)."""
    scripted = Scripted()
    broken = Upstream([[SSE_HEAD, said("one "), said("two"), 0.3, "reset"]])
    endless = Upstream([[SSE_HEAD, *(said(f"{n} ") for n in range(5)), "stall"]])
    config = '[bindings.local]\nengine = "llamacpp"\n'
    config += _BINDING.format(name="up", url=scripted.url, model=MODEL)
    config += _BINDING.format(name="broken", url=broken.url, model=MODEL)
    config += _BINDING.format(name="endless", url=endless.url, model=MODEL)
    for name in ("demo", "demo-again"):
        config += _MODEL.format(name=name, binding="local", model="penstock-demo")
    for name, binding in (
        ("scripted", "up"),
        ("scripted-again", "up"),
        ("broken", "broken"),
        ("endless", "endless"),
    ):
        config += _MODEL.format(name=name, binding=binding, model=MODEL)
    try:
        with serve(folder, config) as serving:
            yield serving
    finally:
        scripted.close()
        broken.close()
        endless.close()


def run(
    command: list[str | Path], serving: Serving, folder: Path, seconds: float
) -> subprocess.CompletedProcess[str]:
    """A client in a process of its own that is told where Penstock listens."""
    environment = {
        "HOME": str(serving.folder),
        "PATH": os.environ["PATH"],
        "PENSTOCK_URL": serving.url,
    }
    return subprocess.run(
        command, env=environment, cwd=folder, timeout=seconds, capture_output=True, text=True
    )


def found(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON object that a client's script printed last."""
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value
