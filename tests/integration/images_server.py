"""A server with OpenAI's images API, for what a test can't buy: it answers as the vectors do.

Written from the API reference, "Create image", "Create image edit" and "Image streaming", as typed
by openai-python 3.52.0. Faults are this file's own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import msgspec
from aiohttp import web
from tests.contract.image_vectors import PICTURE, Case

Fault = Literal[
    "", "cut", "lost", "html", "500", "bad_base64", "no_picture", "silent", "error_event"
]
KEY = "sk-images"


class Asked(msgspec.Struct):
    """One request: its path, its fields and its files (field, name, type and bytes)."""

    path: str
    fields: dict[str, object]
    files: list[tuple[str, str, str, bytes]]


class ImagesServer:
    """What was asked, and what is answered next."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self.fault: Fault = ""
        self.case = Case("openai_images", "generation")
        self.pieces = 1
        self.fetched: list[dict[str, str]] = []
        self.lost = asyncio.Event()
        """Set when a client went away before its answer."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            error = {"message": "Incorrect API key provided", "type": "invalid_request_error"}
            return web.json_response({"error": error}, status=401)
        self.asked.append(await _read(request))
        try:
            return await self._answer(request)
        except (asyncio.CancelledError, ConnectionError):
            self.lost.set()
            raise

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        data = self.case.answer()
        if self.fault == "silent":
            await asyncio.Event().wait()
        if self.fault == "lost":
            assert request.transport is not None
            request.transport.abort()
        if self.fault == "html":
            return web.Response(text="<html>Welcome to nginx</html>", content_type="text/html")
        if self.fault == "500":
            error = {"message": "The server had an error", "type": "server_error", "param": None}
            return web.json_response({"error": error}, status=500)
        if self.fault == "bad_base64":
            data = self.case.answer(b"").replace(b'"b64_json":""', b'"b64_json":"%%%"')
        if self.fault == "no_picture":
            data = b'{"created": 1713833628, "data": []}'
        if (self.case.folder / "refused.json").exists():
            status = self.case.refused().status
            return web.Response(body=data, status=status, content_type="application/json")
        data = data.replace(
            b"https://oaidalleapiprodscus.blob.core.windows.net/...", f"{self.url}/made".encode()
        )
        return await self._sent(request, data)

    async def _sent(self, request: web.Request, data: bytes) -> web.StreamResponse:
        kind = "text/event-stream" if self.case.streamed else "application/json"
        response = web.StreamResponse(headers={"Content-Type": kind})
        response.enable_chunked_encoding()
        await response.prepare(request)
        if self.fault == "error_event":
            first = data.partition(b"\n\n")[0] + b"\n\n"
            error = b'{"type":"error","error":{"message":"it broke","type":"server_error"}}'
            await response.write(first + b"event: error\ndata: " + error + b"\n\n")
            return response
        if self.fault == "cut":
            await response.write(data[: len(data) // 2])
            assert request.transport is not None
            request.transport.abort()
            return response
        size = -(-len(data) // self.pieces)
        for n in range(0, len(data), size):
            await response.write(data[n : n + size])
            await asyncio.sleep(0.001)
        return response

    async def made(self, request: web.Request) -> web.Response:
        self.fetched.append(dict(request.headers))
        return web.Response(body=PICTURE, content_type="image/png")

    async def models(self, request: web.Request) -> web.Response:
        del request
        found = [{"id": name, "object": "model"} for name in ("gpt-image-1.5", "gpt-5")]
        return web.json_response({"object": "list", "data": found})


async def _read(request: web.Request) -> Asked:
    if request.content_type == "application/json":
        return Asked(request.path, msgspec.json.decode(await request.read()), [])
    fields: dict[str, object] = {}
    files: list[tuple[str, str, str, bytes]] = []
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            with value.file as file:
                files.append((name, value.filename, value.content_type, file.read()))
        else:
            fields[name] = value
    return Asked(request.path, fields, files)


@asynccontextmanager
async def images_server() -> AsyncIterator[ImagesServer]:
    """Serves on a free port of this machine."""
    server = ImagesServer()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/images/generations", server.answer)
    app.router.add_post("/v1/images/edits", server.answer)
    app.router.add_get("/v1/models", server.models)
    app.router.add_get("/made", server.made)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
