"""Imports point down, siblings are blind, core and wire know no I/O."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lint(folder: Path) -> tuple[int, str]:
    """`lint-imports` over the tree in `folder`."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    environment = {"PYTHONPATH": str(folder / "src"), "PATH": ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    shutil.copytree(ROOT / "src/penstock", tmp_path / "src/penstock")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_project_keeps_its_layers():
    status, said = lint(ROOT)
    assert status == 0, said


def test_the_page_draws_the_layers_that_are_kept():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    page = (ROOT / "docs/architecture.md").read_text()
    drawn = re.findall(r"^ +\d +(\w+(?: │ \w+)*)", page, re.MULTILINE)
    assert drawn == [layer.replace("|", "│") for layer in layers]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("dialects/lollms/__init__.py", "import penstock.engines.openai"),  # a sibling
        ("gateway/runs.py", "import penstock.streams.memory"),  # an implementation
        ("core/events.py", "import time"),  # a clock in core
        ("wire/sse.py", "import asyncio"),  # I/O in wire
        ("config/schema.py", "import penstock.gateway.gateway"),  # upwards
    ],
)
def test_a_wrong_import_is_found(tree: Path, module: str, line: str):
    path = tree / "src/penstock" / module
    if not path.exists():
        path = path.parent.with_suffix(".py")
    path.write_text(path.read_text() + f"\n{line}\n")
    status, said = lint(tree)
    assert status != 0, said
    assert "BROKEN" in said


def test_a_package_without_a_place_is_found(tree: Path):
    (tree / "src/penstock/extras").mkdir()
    (tree / "src/penstock/extras/__init__.py").write_text('"""A room that nobody planned."""\n')
    status, said = lint(tree)
    assert status != 0, said
    assert "extras" in said
