"""The same ground for every test, however the suite was started."""

import os
import signal

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
