"""The contract of stream logs, over every log that is registered and every way to sync."""

from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import pytest

from penstock import registry
from penstock.config.schema import Streams
from penstock.core.ports import StreamLog
from penstock.testing.streams import StreamLogContract, clock


class TestEveryLog(StreamLogContract):
    """Every log, as it is configured by default and with the other ways to sync."""

    @pytest.fixture(
        params=product(sorted(registry.names("streams")), ("interval", "always", "off"))
    )
    async def log(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StreamLog]:
        name, sync = request.param
        settings = Streams(log=name, sync=sync)
        log = await registry.load("streams", name).open_log(settings, tmp_path / "streams", clock())
        yield log
        await log.aclose()
