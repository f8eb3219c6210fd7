"""The contract of engines, of one that paints."""

from pathlib import Path

import pytest
from tests.images.conftest import Make
from tests.images.painting import ask

from penstock.core.ports import Timeouts
from penstock.engines.diffusers import Config, Engine
from penstock.testing.engines import EngineContract, Subject


@pytest.mark.images
class TestDiffusers(EngineContract):
    @pytest.fixture
    def subject(self, make: Make, tmp_path: Path) -> Subject:
        path = str(make("text"))
        return Subject(
            make=lambda: Engine(Config(path=path), Timeouts()),
            broken=lambda: Engine(Config(path=str(tmp_path / "none")), Timeouts()),
            request=ask(steps=12),
        )
