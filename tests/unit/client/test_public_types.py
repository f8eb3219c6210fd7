"""Two type checkers, strict, understand the clients as a program uses them; a misuse is seen."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from penstock.wire import json

ROOT = Path(__file__).parents[3]
USE = Path(__file__).with_name("typed_use.py")
MISUSE = """
from penstock import Client


def wrong(client: Client) -> None:
    client.stream("Hi", temprature=1)
    client.generate(3)
    len(client.stream("Hi").metrics.first_token)
"""
CHECKERS = ["mypy", "basedpyright"]


def checked(checker: str, path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    if checker == "mypy":
        words = ["mypy", "--strict", "--cache-dir", str(folder / "cache"), str(path)]
    else:
        settings: dict[str, object] = {
            "include": [str(path)],
            "typeCheckingMode": "strict",
            "extraPaths": [str(ROOT / "src")],
        }
        config = folder / "pyrightconfig.json"
        config.write_bytes(json.encode(settings))
        words = ["basedpyright", "--pythonpath", sys.executable, "-p", str(config)]
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "MYPYPATH": str(ROOT / "src"), "HOME": str(folder)}
        | ({"PYTHONPATH": ":".join(sys.path)} if checker == "basedpyright" else {}),
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", CHECKERS)
def test_the_public_types(checker: str, tmp_path: Path):
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    done = checked(checker, USE, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    misuse = tmp_path / "misuse.py"
    misuse.write_text(MISUSE)
    done = checked(checker, misuse, tmp_path)
    assert done.returncode == 1
    for line in (6, 7, 8):
        assert f"misuse.py:{line}:" in done.stdout, done.stdout
