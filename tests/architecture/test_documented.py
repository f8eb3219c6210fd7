"""Every engine, dialect, log and command has its page or line; every name has its vectors."""

import tomllib
from pathlib import Path

import pytest

from penstock import registry
from penstock.cli.__main__ import main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", registry.names("engines"))
def test_every_engine_has_a_page(name: str):
    assert (ROOT / f"docs/engines/{name}.md").is_file()


@pytest.mark.parametrize("name", registry.names("dialects"))
def test_every_dialect_has_a_page(name: str):
    assert (ROOT / f"docs/dialects/{name}.md").is_file()


@pytest.mark.parametrize("name", registry.names("streams"))
def test_every_log_is_described(name: str):
    assert f"`{name}`" in (ROOT / "docs/durability.md").read_text()


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_is_described(name: str):
    assert f"penstock {name}" in (ROOT / "docs/cli.md").read_text()


@pytest.mark.parametrize("name", registry.names("dialects"))
def test_every_dialect_has_vectors(name: str):
    cases = list((ROOT / "tests/vectors/dialects" / name).iterdir())
    assert len(cases) >= 5
    assert (ROOT / f"tests/vectors/errors/{name}.json").is_file()


@pytest.mark.parametrize("name", sorted(set(registry.names("engines")) - {"llamacpp", "replay"}))
def test_every_engine_has_vectors(name: str):
    """Two have no wire of their own: `replay` reads the log's format, and `llamacpp` reads with
    `openai`'s wire what llama.cpp says, whose vectors are `openai/llamacpp_*`.
    """
    cases = list((ROOT / "tests/vectors/engines" / name).iterdir())
    assert cases


def test_every_page_is_in_the_table_of_contents():
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    contents = (ROOT / "mkdocs.yml").read_text()
    assert [page for page in sorted(pages) if page not in contents] == []


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __import__("penstock").__version__
