"""What a listing says of a binding."""

from collections.abc import AsyncIterator, Sequence

import pytest
from tests.unit.gateway.gateways import Scripted

from penstock.core.events import Event
from penstock.core.request import Request
from penstock.gateway.bindings import Binding


async def silent(_request: Request) -> AsyncIterator[Sequence[Event]]:
    yield ()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (None, None),
        ("http://host:1/v1", "http://host:1/v1"),
        ("https://me:hunter2@host/v1?token=hunter2#hunter2", "https://host/v1"),
        ("http://hunter2@[::1]:8/", "http://[::1]:8/"),
    ],
)
def test_an_address_is_listed_without_its_secrets(url: str | None, shown: str | None):
    binding = Binding("b", "openai", Scripted(silent), url=url)  # type: ignore[arg-type]
    assert binding.card.url == shown
