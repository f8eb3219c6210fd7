"""mypy refuses what the design forbids: an event that a dialect forgot, a gap in a signature."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FORGETFUL = '''"""Answers for one event of ten."""
from penstock.core import events as ev


def render(event: ev.Event) -> str:
    match event:
        case ev.TextDelta(text=text):
            return text
    return ""
'''

UNTYPED = '''"""Takes anything."""


def render(event):
    return event
'''

RIGHT = '''"""Says what it takes."""
from penstock.core import events as ev


def render(event: ev.TextDelta) -> str:
    return event.text
'''


@pytest.mark.parametrize(
    ("text", "complaint"),
    [(FORGETFUL, "exhaustive-match"), (UNTYPED, "no-untyped-def"), (RIGHT, "")],
)
def test_what_mypy_says(tmp_path: Path, text: str, complaint: str):
    path = tmp_path / "example.py"
    path.write_text(text)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    cache = ["--cache-dir", str(ROOT / ".mypy_cache")]
    done = subprocess.run([*command, *cache, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert (complaint in done.stdout) if complaint else (done.returncode == 0), done.stdout
    assert (done.returncode != 0) == bool(complaint)
