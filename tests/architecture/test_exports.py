"""The public surface: complete, sorted, documented, and importable without extras."""

import subprocess
import sys
from inspect import getdoc

import penstock


def test_all_is_sorted_and_resolves():
    assert sorted(penstock.__all__) == penstock.__all__
    for name in penstock.__all__:
        assert getattr(penstock, name) is not None


def test_every_public_name_says_what_it_is():
    plain = {"Event", "__version__"}  # a union and a string have no docstring of their own
    undocumented = [
        name
        for name in set(penstock.__all__) - plain
        if not getdoc(getattr(penstock, name)) or getattr(penstock, name).__doc__ is None
    ]
    assert undocumented == []


def test_nothing_public_is_left_out():
    here = {name for name, value in vars(penstock).items() if not name.startswith("_")}
    modules = {name for name in here if type(getattr(penstock, name)).__name__ == "module"}
    imported_tools = {"import_module", "version", "TYPE_CHECKING"}
    assert here - modules - imported_tools <= set(penstock.__all__)


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
