"""One ComfyUI server: its routes, and its WebSocket.

Shapes: `server.py` of Comfy-Org/ComfyUI at 5e14d797 (2026, 0.38), and of older ones where said.
"""

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

import aiohttp
import msgspec

from penstock.core.errors import (
    EngineProtocolError,
    EngineRefusedError,
    GatewayError,
    InvalidRequestError,
)
from penstock.core.ports import Timeouts
from penstock.core.secrets import Secret
from penstock.engines import _comfy_messages as told
from penstock.engines._comfy_workflow import Graph, Workflow
from penstock.engines._http import Upstream
from penstock.engines._said import Mask
from penstock.engines._upstream_errors import our_errors, refusal
from penstock.wire import json

_MOST_BYTES: Final = 256 * 1024 * 1024
_BEAT_SECONDS: Final = 20.0
_FOLDER: Final = "penstock"
_FEATURES: Final = json.encode(
    {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
).decode()
"""Has to be the first message of a connection; servers that don't know it read past it."""


class _Problem(msgspec.Struct):
    message: str = ""
    details: str = ""
    extra_info: dict[str, msgspec.Raw] = {}


class _NodeProblems(msgspec.Struct):
    errors: list[_Problem] = []
    class_type: str = ""


class _Refused(msgspec.Struct):
    error: _Problem | str = ""
    node_errors: dict[str, _NodeProblems] | list[msgspec.Raw] = []


class _Queued(msgspec.Struct):
    prompt_id: str


class _Uploaded(msgspec.Struct):
    name: str
    subfolder: str = ""


class Server:
    """Made without I/O; connections appear on first use. Raises `GatewayError` everywhere."""

    def __init__(
        self,
        url: str,
        timeouts: Timeouts,
        *,
        key: Secret | None,
        headers: Mapping[str, Secret],
        verify_tls: bool,
    ) -> None:
        # It checks address and headers, and knows what must not be shown; it is never called.
        shown = Upstream(url, timeouts, key=key, headers=headers, verify_tls=verify_tls)
        self.address = shown.address
        self.masked = shown.masked
        self._base = url.rstrip("/")
        self._timeouts = timeouts
        self._verify_tls = verify_tls
        self._headers = {name: value.reveal() for name, value in headers.items()}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key.reveal()}"
        self._session: aiohttp.ClientSession | None = None

    async def check(self) -> None:
        """Raises unless a ComfyUI answers."""
        data = await self._get("system_stats")
        json.decode(data, dict[str, msgspec.Raw], EngineProtocolError)

    async def choices(self, kind: str, field: str) -> list[str] | None:
        """What an input of a class of nodes may be; `None` when that is not a list of names."""
        data = await self._get(f"object_info/{quote(kind, safe='')}")
        return told.choices(data, kind, field)

    async def upload(self, data: bytes, name: str, media_type: str) -> str:
        """Hands a picture over; the name by which a `LoadImage` finds it."""
        form = aiohttp.FormData()
        form.add_field("image", data, filename=name, content_type=media_type)
        form.add_field("type", "input")
        form.add_field("subfolder", _FOLDER)
        found = json.decode(
            await self._send("POST", "upload/image", form), _Uploaded, EngineProtocolError
        )
        return f"{found.subfolder}/{found.name}" if found.subfolder else found.name

    async def queue_up(self, graph: Graph, client: str, wish: str, workflow: Workflow) -> str:
        """Queues a workflow; its id, which is `wish` where the server takes one.

        Raises `InvalidRequestError` naming the parameter, or `EngineRefusedError` where the
        workflow itself is what the server can't run.
        """
        body = json.encode({"prompt": graph, "client_id": client, "prompt_id": wish})
        status, headers, data = await self._request("POST", "prompt", body)
        if status == 400:
            raise _refused(data, workflow, self.masked)
        if status != 200:
            raise refusal(status, headers, data, self.masked)
        return json.decode(data, _Queued, EngineProtocolError).prompt_id

    async def queue(self) -> told.Queue:
        """Who runs and who waits."""
        return told.queue(await self._get("queue"))

    async def past(self, prompt_id: str) -> told.Past | None:
        """A run that has ended."""
        return told.past(await self._get(f"history/{quote(prompt_id, safe='')}"), prompt_id)

    async def cancel(self, prompt_id: str) -> None:
        """Takes a run out of the queue, or stops it. Never stops another's.

        Older servers know no `prompt_id` in `/interrupt` and stop whatever runs, so it is only
        called while our own run is the one that runs.
        """
        await self._send("POST", "queue", json.encode({"delete": [prompt_id]}))
        if prompt_id in (await self.queue()).running:
            await self._send("POST", "interrupt", json.encode({"prompt_id": prompt_id}))

    async def picture(self, file: told.File) -> tuple[bytes, str]:
        """The bytes of a picture, and its media type."""
        query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        status, headers, data = await self._request("GET", f"view?{urlencode(query)}", None)
        if status != 200:
            raise refusal(status, headers, data, self.masked)
        return data, headers.get("Content-Type", "image/png").partition(";")[0].strip()

    async def listen(self, client: str) -> aiohttp.ClientWebSocketResponse:
        """A connection that tells how the runs of `client` fare."""
        with our_errors(self.address):
            async with asyncio.timeout(self._timeouts.connect):
                socket = await self._open().ws_connect(
                    f"{self._base}/ws?clientId={client}",
                    heartbeat=_BEAT_SECONDS,
                    max_msg_size=_MOST_BYTES,
                )
                await socket.send_str(_FEATURES)
                return socket

    async def aclose(self) -> None:
        """Closes every connection. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _get(self, path: str) -> bytes:
        return await self._send("GET", path, None)

    async def _send(self, method: str, path: str, body: bytes | aiohttp.FormData | None) -> bytes:
        status, headers, data = await self._request(method, path, body)
        if status != 200:
            raise refusal(status, headers, data, self.masked)
        return data

    async def _request(
        self, method: str, path: str, body: bytes | aiohttp.FormData | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Content-Type": "application/json"} if isinstance(body, bytes) else {}
        with our_errors(self.address):
            async with (
                asyncio.timeout(self._timeouts.connect + self._timeouts.between_tokens),
                self._open().request(
                    method,
                    f"{self._base}/{path}",
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                ) as response,
            ):
                data = bytearray()
                async for piece in response.content.iter_any():
                    data += piece
                    if len(data) > _MOST_BYTES:
                        raise EngineProtocolError("the upstream's answer is too large")
                return response.status, response.headers, bytes(data)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._verify_tls),
                headers={"User-Agent": "penstock", **self._headers},
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    connect=self._timeouts.connect,
                    sock_connect=self._timeouts.connect,
                ),
            )
        return self._session


def _refused(data: bytes, workflow: Workflow, mask: Mask) -> GatewayError:
    """The error of a workflow that was not queued: the first node's first problem."""
    found = json.decode(data, _Refused, EngineProtocolError)
    nodes = found.node_errors if isinstance(found.node_errors, dict) else {}
    for node, problems in nodes.items():
        for problem in problems.errors:
            said = f"{problems.class_type} ({node}): {problem.message}: {problem.details}"
            raw = problem.extra_info.get("input_name", msgspec.Raw(b'""'))
            field = json.decode(bytes(raw), object, EngineProtocolError)
            name = workflow.name_at(node, field) if isinstance(field, str) else None
            text = mask(f"ComfyUI refuses the workflow at {said}")[:600]
            if name is None:
                return EngineRefusedError(text)
            return InvalidRequestError(text, param="size" if name in ("width", "height") else name)
    why = found.error
    said = why if isinstance(why, str) else f"{why.message} {why.details}".strip()
    return EngineRefusedError(mask(f"ComfyUI refuses the workflow: {said}")[:600])
