"""The same ground for every test, however the suite was started."""

import os
import signal

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """A shell that starts us in the background ignores SIGINT, and our children would too."""
    _ = config
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's own shell says to Penstock says nothing here."""
    for name in list(os.environ):
        if name.startswith(("PENSTOCK_", "OPENAI_", "OLLAMA_")):
            monkeypatch.delenv(name)
