"""Every example of the page about pictures runs, with the demo image model."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.images.painting import ROOT, opened
from tests.images.test_clients import server as server
from tests.integration.serving import Serving

pytestmark = pytest.mark.images

PAGE = (ROOT / "docs/pictures.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(command: list[str], server: Serving, folder: Path) -> str:
    environment = {
        "HOME": str(folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "PENSTOCK_SERVER__PORT": str(server.port),
    }
    done = subprocess.run(
        command,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "python"])
def test_python(text: str, server: Serving, tmp_path: Path):
    script = tmp_path / "example.py"
    script.write_text(text.replace("http://127.0.0.1:9601", server.url))
    said = run([sys.executable, str(script)], server, tmp_path)
    assert "preview 0" in said
    assert opened((tmp_path / "circle.png").read_bytes()).size == (64, 64)


def test_the_command_line_and_curl(server: Serving, tmp_path: Path):
    lines = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    assert [one[0] for one in words] == ["make", "penstock", "curl"]
    run(words[1], server, tmp_path)
    (saved,) = (tmp_path / "generated_images").glob("*.png")
    assert opened(saved.read_bytes()).info["seed"] == "5"
    command = [word.replace("http://127.0.0.1:9601", server.url) for word in words[2]]
    assert '"image/png"' in run(command, server, tmp_path)
