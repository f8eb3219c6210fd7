"""Pipelines made once, each in a process of its own."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from tests.images.painting import by_module, painter

from penstock.engines.diffusers import Engine

Make = Callable[[str], Path]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A pipeline's folder by its kind; see `tests.images.tiny`."""
    folder = tmp_path_factory.mktemp("pipelines")
    made: dict[str, Path] = {}

    def one(kind: str) -> Path:
        if kind not in made:
            path = folder / f"tiny-{kind}"
            by_module("tests.images.tiny", kind, str(path))
            made[kind] = path
        return made[kind]

    return one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(make: Make) -> AsyncIterator[Engine]:
    """One for all tests of a module: starting takes seconds."""
    async with painter(make("text"), max_pixels=2**20) as made:
        yield made
