"""The description is complete, and of a piece."""

import re

import msgspec
from tests.integration.http.parts import serving
from tests.integration.http.stand_in import Dialect

from penstock.core.errors import EngineProtocolError
from penstock.wire import json


class Document(msgspec.Struct):
    """The parts that are looked at."""

    openapi: str
    paths: dict[str, dict[str, dict[str, object]]]
    components: dict[str, dict[str, object]]


async def test_every_route_is_described_and_every_reference_resolves() -> None:
    async with serving([Dialect()], keys=["k"]) as running:
        _, headers, body = await running.ask("GET", "/openapi.json")
        assert headers["content-type"] == "application/json"
        found = json.decode(body, Document, EngineProtocolError)
        paths = found.paths
        for route in Dialect.routes:
            described = paths[route.path.replace(":path", "")]
            assert route.method.lower() in described
        for path in ("/v1/streams", "/v1/streams/{id}", "/health", "/ready", "/metrics", "/"):
            assert path in paths
        schemas = found.components["schemas"]
        for name in re.findall(rb'"#/components/schemas/([\w.]+)"', body):
            assert name.decode() in schemas
        for path in ("/v1/streams/{id}/blobs/{sha256}", "/v1/images/{id}/{sha256}"):
            assert b'"image/*"' in json.encode(paths[path]["get"])
        ids = [one["operationId"] for path in paths.values() for one in path.values()]
        assert len(ids) == len(set(ids)) > 10
        linked = re.findall(rb'"operationId":"(\w+)","parameters":{"id":"\$response', body)
        assert linked
        assert {name.decode() for name in linked} <= set(ids)
        assert b'"code":"missing_key"' in body
