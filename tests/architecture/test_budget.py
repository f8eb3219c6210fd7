"""Modules, functions and signatures stay small and typed."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def budget() -> ModuleType:
    spec = importlib.util.spec_from_file_location("budget", ROOT / "tools/budget.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_project_is_within_its_budget(budget: ModuleType):
    assert list(budget.complaints(ROOT / "src")) == []


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("long.py", '"""A."""\n' + "x = 1\n" * 400, "module of 401 lines"),
        ("deep.py", '"""A."""\ndef f():\n' + "    x = 1\n" * 40, "f has 41 lines"),
        ("loose.py", '"""A."""\nfrom typing import Any\ndef f(x: dict[str, Any]): ...\n', "Any in"),
        ("loose.py", '"""A."""\nfrom typing import Any\ndef f() -> Any: ...\n', "Any in"),
        ("utils.py", '"""A."""\n', "says nothing"),
        ("mute.py", "x = 1\n", "no sentence"),
        ("__init__.py", '"""A."""\n__all__ = ' + repr([f"n{i}" for i in range(21)]), "21 public"),
    ],
)
def test_what_is_over_budget_is_named(
    budget: ModuleType, tmp_path: Path, name: str, text: str, complaint: str
):
    (tmp_path / name).write_text(text)
    assert any(complaint in found for found in budget.complaints(tmp_path))
