"""For `usefixtures("carrier")`: a test of an HTTP engine runs over both carriers."""

from collections.abc import Mapping
from urllib.parse import SplitResult, urlunsplit

import pytest

from penstock.core.ports import Timeouts
from penstock.engines import _http
from penstock.engines._aiohttp import AiohttpCarrier


@pytest.fixture(params=["plain", "aiohttp"])
def carrier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Addresses that could have the cheap carrier get aiohttp in the second round."""

    def general(
        base: SplitResult, headers: Mapping[str, str], timeouts: Timeouts, *, idle_seconds: float
    ) -> AiohttpCarrier:
        return AiohttpCarrier(
            urlunsplit(base).rstrip("/"),
            headers,
            timeouts,
            verify_tls=True,
            proxies=False,
            idle_seconds=idle_seconds,
        )

    if request.param == "aiohttp":
        monkeypatch.setattr(_http, "PlainCarrier", general)
    name: str = request.param
    return name
