"""The public surface: complete, sorted, documented, and importable without extras."""

import subprocess
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType

import penstock


def faults(package: ModuleType) -> Iterator[str]:
    """What is wrong with a package's public names."""
    names: list[str] = list(package.__all__)
    if names != sorted(names):
        yield "not sorted"
    for name in names:
        value = getattr(package, name, None)
        if value is None:
            yield f"{name} is not there"
        elif isinstance(value, type | FunctionType) and not value.__doc__:
            yield f"{name} has no docstring"
    tools = {"import_module", "version", "TYPE_CHECKING"}
    for name, value in vars(package).items():
        if not (name.startswith("_") or isinstance(value, ModuleType) or name in {*names, *tools}):
            yield f"{name} is left out"


def test_the_public_names_are_right():
    assert list(faults(penstock)) == []


def test_what_is_wrong_is_named():
    package = ModuleType("package")
    package.__dict__.update(__all__=["b", "a"], a=lambda: None, c=1)
    assert list(faults(package)) == [
        "not sorted",
        "b is not there",
        "a has no docstring",
        "c is left out",
    ]


def test_the_core_install_is_enough_for_the_client_and_the_command_line():
    """The extras' packages are made unimportable; a missing module would show."""
    script = """
import sys
class Absent:
    names = {"httptools", "prometheus_client", "uvicorn", "uvloop", "xllamacpp"}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import penstock
penstock.AsyncClient
import penstock.cli.__main__
try:
    import uvicorn
except ModuleNotFoundError:
    print("and the guard works")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "and the guard works" in done.stdout
