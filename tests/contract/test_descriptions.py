"""What the dialects say of their routes is complete."""

import re

import pytest

from penstock import registry
from penstock.core.description import Describing
from penstock.core.ports import Dialect


@pytest.mark.parametrize("name", sorted(registry.names("dialects")))
def test_every_route_is_described_and_no_other(name: str) -> None:
    dialect: Dialect = registry.load("dialects", name).Dialect()
    assert isinstance(dialect, Describing)
    described = dialect.description.routes
    assert set(described) == {(route.method, route.path) for route in dialect.routes}
    for route in dialect.routes:
        one = described[route.method, route.path]
        assert set(one.path) <= set(re.findall(r"\{(\w+)", route.path))
        if route.method in ("GET", "HEAD"):
            assert not one.asked
        if route.operation == "generate":
            assert one.asked
            assert one.told or one.items
            assert one.example
