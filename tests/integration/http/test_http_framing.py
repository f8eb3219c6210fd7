"""What a dialect may ask of the transport: other framings, headers of its own, ignored hints."""

import asyncio

import msgspec
from tests.integration.http.parts import serving
from tests.integration.http.stand_in import Dialect
from tests.integration.http.test_http_generate import CHAT, ask, breaking, gated, raw
from typing_extensions import override

from penstock.config.schema import Server
from penstock.core.errors import EngineProtocolError
from penstock.core.ports import Call, Opening
from penstock.core.queries import Query
from penstock.core.request import Request
from penstock.wire import json


class Lines(Dialect):
    """The same in NDJSON, with a clean end after failures, and hints that it ignores."""

    @override
    def opening(self, request: Request) -> Opening:
        return Opening("ndjson", abort_on_failure=False, headers={"X-Own": "1"})

    @override
    def parse(self, call: Call) -> Request | Query:
        found = super().parse(call)
        if isinstance(found, Query):
            return found
        return msgspec.structs.replace(found, ignored=("user", "b\u00e9\r\nset-cookie: x"))


async def test_ndjson() -> None:
    async with serving([Lines()]) as running:
        status, headers, body = await running.ask("POST", CHAT, ask())
        assert status == 200
        assert headers["content-type"] == "application/x-ndjson"
        assert headers["x-own"] == "1"
        assert body.endswith(b"[DONE]\n")
        for line in body.splitlines()[:-1]:
            json.decode(line, object, EngineProtocolError)


async def test_a_heartbeat_in_ndjson_is_white_space_before_a_line() -> None:
    gate = asyncio.Event()
    settings = Server(heartbeat_seconds=0.03)
    async with serving([Lines()], {"slow": gated(gate)}, settings=settings) as running:
        reader, writer = await running.connect()
        writer.write(raw(ask("slow")))
        await reader.readuntil(b"\r\n1\r\n \r\n1\r\n \r\n")
        gate.set()
        assert b"[DONE]\n" in await reader.readuntil(b"0\r\n\r\n")
        writer.close()
        await running.idle()


async def test_a_failure_may_end_cleanly() -> None:
    async with serving([Lines()], {"bad": breaking}) as running:
        status, _, body = await running.ask("POST", CHAT, ask("bad"))
        assert status == 200
        assert body.endswith(b'{"error":{"message":"the upstream broke off"}}\n')


async def test_ignored_hints_are_named_and_can_forge_no_header() -> None:
    async with serving([Lines()]) as running:
        for stream in (True, False):
            _, headers, _ = await running.ask("POST", CHAT, ask(stream=stream))
            assert headers["penstock-ignored"] == "user, b???set-cookie: x"
            assert "set-cookie" not in headers
