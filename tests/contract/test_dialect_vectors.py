"""Every dialect keeps its contract, and every golden vector holds."""

from pathlib import Path

import pytest

from penstock import registry
from penstock.core.ports import Dialect
from penstock.testing.dialects import (
    DialectContract,
    Subject,
    VectorContract,
    dialect_vectors,
)

ROOT = Path(__file__).parents[1] / "vectors"


def _dialect(name: str) -> Dialect:
    found: Dialect = registry.load("dialects", name).Dialect()
    return found


class TestVectors(VectorContract):
    """All cases of all dialects."""

    @pytest.fixture(params=dialect_vectors(ROOT), ids=str)
    def subject(self, request: pytest.FixtureRequest) -> Subject:
        return Subject(_dialect(request.param.dialect), request.param)


class TestDialects(DialectContract):
    """All dialects."""

    @pytest.fixture(params=sorted(registry.names("dialects")))
    def dialect(self, request: pytest.FixtureRequest) -> Dialect:
        return _dialect(request.param)

    @pytest.fixture
    def root(self) -> Path:
        return ROOT
