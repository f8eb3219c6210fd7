"""Debian's Chromium, driven over its DevTools protocol, with no network but loopback."""

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from penstock.wire import json

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--window-size=1280,900",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)


class Page:
    """One tab. `requests` are all addresses that it asked for, `problems` what it complained of."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last = 0
        self._waiting: dict[int, asyncio.Future[dict[str, object]]] = {}
        self.requests: list[str] = []
        self.problems: list[str] = []

    async def listen(self) -> None:
        """Reads what the browser says; to be run in a task."""
        async for message in self._socket:
            said = json.decode(message.data, dict[str, object], ValueError)  # type: ignore[arg-type]
            number = said.get("id")
            if isinstance(number, int):
                self._waiting.pop(number).set_result(said)
            else:
                self._note(str(said.get("method")), said.get("params"))

    def _note(self, method: str, params: object) -> None:
        assert isinstance(params, dict)
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.problems.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(params["entry"]["text"])

    async def call(self, method: str, **params: object) -> dict[str, object]:
        """One command and its result."""
        self._last += 1
        answer = self._waiting[self._last] = asyncio.get_running_loop().create_future()
        command = {"id": self._last, "method": method, "params": params}
        await self._socket.send_str(json.encode(command).decode())
        async with asyncio.timeout(30):
            said = await answer
        assert "error" not in said, said
        result = said["result"]
        assert isinstance(result, dict)
        return result

    async def run(self, script: str) -> object:
        """The value of an expression, awaited."""
        result = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        value = result["result"]
        assert isinstance(value, dict)
        return value.get("value")

    async def until(self, script: str, seconds: float = 20.0) -> None:
        """Waits until an expression is true."""
        async with asyncio.timeout(seconds):
            while not await self.run(f"Boolean({script})"):
                await asyncio.sleep(0.02)

    async def open(self, address: str) -> None:
        """Goes there."""
        await self.call("Page.navigate", url=address)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def screenshot(self) -> bytes:
        """What it looks like, as PNG."""
        result = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(str(result["data"]))


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Page]:
    """A browser with one empty tab; its profile lies in `folder`."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.fail("this test needs Chromium: apt-get install chromium")
    process = await asyncio.create_subprocess_exec(
        program,
        *FLAGS,
        f"--user-data-dir={folder}",
        "about:blank",
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        found = folder / "DevToolsActivePort"
        async with asyncio.timeout(30):
            while not found.exists() or len(found.read_text().splitlines()) < 2:
                await asyncio.sleep(0.05)
        port = found.read_text().splitlines()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as response:
                tabs = await response.json()
            address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
            async with (
                session.ws_connect(address, max_msg_size=0) as socket,
                asyncio.TaskGroup() as group,
            ):
                page = Page(socket)
                listening = group.create_task(page.listen())
                for domain in ("Page", "Network", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                yield page
                listening.cancel()
    finally:
        process.terminate()
        await process.wait()
