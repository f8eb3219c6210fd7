"""HTTP over plain connections, as no other carrier reads it."""

import asyncio

import pytest
from tests.unit.engines.test_carriers import ANSWER, BODY, HEAD

from penstock.core.ports import Timeouts
from penstock.engines.openai import Config, Engine
from penstock.testing.engines import play, said
from penstock.testing.vectors import REQUEST


@pytest.mark.parametrize("end", [b"", b"0\r\n\r\n"])
@pytest.mark.parametrize("together", [True, False])
async def test_what_came_before_nonsense_stands(end: bytes, together: bool) -> None:
    over = asyncio.Event()
    body = b"%x\r\n%b\r\n" % (len(BODY), BODY)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        pieces = [HEAD + b"\r\n" + body + end, b"nonsense\r\n\r\n"]
        for piece in [b"".join(pieces)] if together else pieces:
            writer.write(piece)
            await asyncio.sleep(0.01)
        writer.close()
        over.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        engine = Engine(Config(url=f"http://127.0.0.1:{port}"), Timeouts(connect=2, first_token=5))
        assert said(await play(engine, REQUEST)) == ANSWER
        await over.wait()
        await engine.aclose()
