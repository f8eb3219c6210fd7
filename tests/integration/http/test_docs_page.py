"""The pages in a real browser that can reach nothing but this server."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from pathlib import Path

import pytest
from tests.integration.http.browser import chromium
from tests.integration.http.parts import serving
from tests.integration.http.stand_in import Dialect
from tests.integration.http.test_http_generate import gated

from penstock import registry
from penstock.core.events import Done, Event, TextDelta
from penstock.core.request import Request

TURN = "document.querySelector('#turns .assistant:last-of-type').textContent"
SEND = (
    "document.querySelector('#prompt').value = 'hi'; document.querySelector('#ask').requestSubmit()"
)


@pytest.mark.parametrize("name", ["app.html", "docs.html", "app.css", "docs.css", "app.js"])
def test_no_page_names_another_host(name: str) -> None:
    text = (files("penstock.transports.http") / "static" / name).read_text()
    assert re.findall(r"""(?:https?:)?//[\w.-]+\.\w""", text) == []
    assert re.findall(r"""(?:src|href|action)="(?!/)""", text) == []
    assert "<script>" not in text
    assert " style=" not in text


@pytest.mark.services
async def test_the_documentation_works_offline(tmp_path: Path) -> None:
    dialects = [registry.load("dialects", name).Dialect() for name in registry.names("dialects")]
    async with serving(dialects) as running, chromium(tmp_path) as page:
        origin = f"http://127.0.0.1:{running.port}"
        await page.open(f"{origin}/docs")
        await page.until("document.querySelectorAll('.opblock').length > 50")
        shown = str(await page.run("document.body.innerText"))
        for path in ("/v1/chat/completions", "/api/v1/generate", "/v1/streams/{id}", "/ready"):
            assert path in shown.replace("\u200b", "")
        assert len(page.requests) >= 5
        outside = [r for r in page.requests if not r.startswith((origin, "data:"))]
        assert outside == []
        assert page.problems == []


@pytest.mark.services
async def test_the_page_streams_stops_and_resumes(tmp_path: Path) -> None:
    gates = [asyncio.Event() for _ in range(2)]
    plays = iter([gated(gates[0]), gated(gates[1])])

    async def play(request: Request) -> AsyncIterator[Sequence[Event]]:
        async for batch in next(plays)(request):
            yield batch

    async with (
        serving([Dialect()], {"hello": play}) as running,
        chromium(tmp_path) as page,
    ):
        await page.open(f"http://127.0.0.1:{running.port}/")
        await page.until("document.querySelector('#state').textContent.includes('ready')")
        assert "curl -N http://127.0.0.1" in str(await page.run("document.body.innerText"))
        await page.until("document.querySelector('#model').options.length > 1")

        await page.run(SEND)
        await page.until(f"{TURN} === 'a'")
        for connection in list(running.server.server_state.connections):
            connection.transport.abort()
        await page.until("document.querySelector('#note').textContent.includes('resuming')")
        gates[0].set()
        await page.until(f"{TURN} === 'ab'")
        await page.until("!document.querySelector('#send').disabled")
        assert running.engine.stopped == []

        await page.run(SEND)
        await page.until(f"{TURN} === 'a'")
        await page.run("document.querySelector('#stop').click()")
        await page.until("document.querySelector('#note').textContent === 'stopped'")
        async with asyncio.timeout(10):
            while running.gateway.metrics.runs:
                await asyncio.sleep(0.01)
        assert running.engine.stopped == ["hello"]
        outside = [r for r in page.requests if "127.0.0.1" not in r and not r.startswith("data:")]
        assert outside == []


@pytest.mark.services
async def test_the_page_asks_for_a_key(tmp_path: Path) -> None:
    async def echo(_request: Request) -> AsyncIterator[Sequence[Event]]:
        yield [TextDelta(part=0, text="<b>let in</b>"), Done(reason="stop")]

    async with (
        serving([Dialect()], {"hello": echo}, keys=["sesame"]) as running,
        chromium(tmp_path) as page,
    ):
        await page.open(f"http://127.0.0.1:{running.port}/")
        await page.until("!document.querySelector('#key-form').hidden")
        await page.run(
            "document.querySelector('#key').value = 'sesame';"
            "document.querySelector('#key-form').requestSubmit()"
        )
        await page.until("document.querySelector('#model').options.length > 1")
        await page.run(SEND)
        await page.until(f"{TURN} === '<b>let in</b>'")
        assert "sesame" not in str(await page.run("document.body.innerText"))
