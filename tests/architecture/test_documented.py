"""Every engine, dialect, log and command has its page or line; every name has its vectors."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from penstock import registry
from penstock.cli.__main__ import main

ROOT = Path(__file__).parents[2]

# Three have no wire of their own: `replay` reads the log's format, `llamacpp` reads with `openai`'s
# wire what llama.cpp says (its vectors are `openai/llamacpp_*`), `diffusers` calls a library. A run
# of `comfyui` is many exchanges: its vectors are `tests/vectors/comfyui`.
WIRELESS = {"comfyui", "diffusers", "llamacpp", "replay"}


def gaps(root: Path, engines: Iterable[str], dialects: Iterable[str]) -> Iterator[str]:
    """What is missing of pages and vectors."""
    for name in engines:
        if not (root / f"docs/engines/{name}.md").is_file():
            yield f"docs/engines/{name}.md"
        if name not in WIRELESS and not list((root / "tests/vectors/engines" / name).glob("*/*")):
            yield f"tests/vectors/engines/{name}"
    for name in dialects:
        if not (root / f"docs/dialects/{name}.md").is_file():
            yield f"docs/dialects/{name}.md"
        if len(list((root / "tests/vectors/dialects" / name).glob("*"))) < 5:
            yield f"tests/vectors/dialects/{name}"
        if not (root / f"tests/vectors/errors/{name}.json").is_file():
            yield f"tests/vectors/errors/{name}.json"


def unlisted(root: Path) -> list[str]:
    """Pages that the table of contents does not know."""
    pages = {str(path.relative_to(root / "docs")) for path in (root / "docs").rglob("*.md")}
    contents = (root / "mkdocs.yml").read_text()
    return [page for page in sorted(pages) if page not in contents]


def test_every_engine_and_dialect_has_its_page_and_its_vectors():
    assert list(gaps(ROOT, registry.names("engines"), registry.names("dialects"))) == []


def test_what_is_missing_is_named(tmp_path: Path):
    assert list(gaps(tmp_path, ["parrot"], ["klingon"])) == [
        "docs/engines/parrot.md",
        "tests/vectors/engines/parrot",
        "docs/dialects/klingon.md",
        "tests/vectors/dialects/klingon",
        "tests/vectors/errors/klingon.json",
    ]


def test_every_log_and_every_command_is_described():
    durability, commands = (
        (ROOT / "docs" / page).read_text() for page in ("durability.md", "cli.md")
    )
    assert [name for name in registry.names("streams") if f"`{name}`" not in durability] == []
    assert [name for name in main.commands if f"penstock {name}" not in commands] == []


def test_every_page_is_in_the_table_of_contents(tmp_path: Path):
    assert unlisted(ROOT) == []
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/lost.md").touch()
    (tmp_path / "mkdocs.yml").write_text("nav: []\n")
    assert unlisted(tmp_path) == ["lost.md"]


def test_the_outside_clients_are_those_of_the_locks():
    locks = "".join(path.read_text() for path in (ROOT / "locks").glob("*.txt"))
    page = (ROOT / "docs/clients/outside.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)`(?: for Python)? \| (\d+\.[\d.]+) \|", page, re.MULTILINE)
    assert len(rows) >= 4
    assert [name for name, version in rows if f"\n{name}=={version} " not in locks] == []


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __import__("penstock").__version__
