"""The same ground for every test, however the suite was started."""

import os
import signal
from importlib.util import find_spec

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """A shell that starts us in the background ignores SIGINT, and our children would too."""
    _ = config
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_settings_from_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What the developer's own shell and folders say to Penstock says nothing here."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))
    for name in list(os.environ):
        if name.startswith(("PENSTOCK_", "OPENAI_", "OLLAMA_")):
            monkeypatch.delenv(name)


DRAWS = find_spec("torch") is not None and find_spec("diffusers") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that draw need what only `make setup-images` installs."""
    if not DRAWS:
        items[:] = [item for item in items if item.get_closest_marker("images") is None]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not DRAWS:
        terminalreporter.write_line(
            "The tests that draw pictures were left out: torch isn't installed (make setup-images)"
        )
