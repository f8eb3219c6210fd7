"""A ComfyUI on loopback: its queue, its routes, its WebSocket, as its published source has them.

Nothing is drawn by a model: a `KSampler` waits for `gate` before each step, and `SaveImage` makes a
picture of one colour. All that it says has exactly the keys of `tests/vectors/comfyui`, and all
that it is asked must have those; each vector names its source.
"""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web
from PIL import Image

VECTORS = Path(__file__).parents[1] / "vectors" / "comfyui"
Json = dict[str, Any]


def vector(name: str) -> Any:
    """One vector, or a list of them."""
    return json.loads((VECTORS / f"{name}.json").read_text())


MESSAGES = {one["type"]: one["data"] for one in vector("messages")}


def colour(side: tuple[int, int], shade: int, kind: str = "PNG") -> bytes:
    """A picture of one colour."""
    out = BytesIO()
    Image.new("RGB", side, (shade % 256, 100, 50)).save(out, kind)
    return out.getvalue()


class Interrupted(Exception):  # noqa: N818
    """As `InterruptProcessingException`."""


async def at_once(_step: int) -> None:
    """Nothing to wait for."""


@dataclass
class Comfy:
    """One server. `gate` is awaited before each step; what it raises is the node's exception."""

    gate: Callable[[int], Awaitable[None]] = at_once
    port: int = 0
    old: bool = False
    """Mints its own ids, knows no `prompt_id` in `/interrupt`, ends with `executing` of no node."""
    pending: list[list[Any]] = field(default_factory=list)
    running: list[list[Any]] = field(default_factory=list)
    history: Json = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, Json]] = field(default_factory=list)
    interrupts: int = 0
    queue_asked: int = 0
    """How many times the queue was asked for."""
    metadata: set[str] = field(default_factory=set)
    lost_views: int = 0
    """How many times a picture breaks off before it comes."""
    messages: bool = True
    """Whether what happens is told to anybody; off: the connection misses it."""

    def __post_init__(self) -> None:
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self._more = asyncio.Event()
        self._stop = asyncio.Event()
        self._numbers = 0

    async def __aenter__(self) -> "Comfy":
        app = web.Application(client_max_size=2**24)
        app.add_routes(
            [
                web.get("/ws", self._ws),
                web.get("/system_stats", self._stats),
                web.get("/object_info/{kind}", self._info),
                web.post("/prompt", self._prompt),
                web.get("/queue", self._queue),
                web.post("/queue", self._delete),
                web.post("/interrupt", self._interrupt),
                web.get("/history/{id}", self._history),
                web.get("/view", self._view),
                web.post("/upload/image", self._upload),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        server = site._server
        assert isinstance(server, asyncio.Server)
        self.port = server.sockets[0].getsockname()[1]
        self._worker = asyncio.get_running_loop().create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._worker.cancel()
        with suppress(asyncio.CancelledError):
            await self._worker
        await self.cut()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def cut(self) -> None:
        """Breaks every WebSocket, without a word."""
        for socket in list(self.sockets.values()):
            transport = socket._req.transport if socket._req is not None else None
            if transport is not None:
                transport.abort()
        self.sockets.clear()
        await asyncio.sleep(0)

    # ── telling ──────────────────────────────────────────────────────────────────────────────────

    async def _send(self, client: str | None, kind: str, **data: object) -> None:
        vector_keys = MESSAGES[kind].keys() - ({"sid"} if "sid" not in data else set())
        old = {"display_node"} if self.old else set()
        assert data.keys() | old == vector_keys | old, (kind, data)
        await self._out(client, lambda socket: socket.send_json({"type": kind, "data": data}))

    async def _out(
        self, client: str | None, send: Callable[[web.WebSocketResponse], Awaitable[None]]
    ) -> None:
        for name, socket in list(self.sockets.items()):
            if self.messages and client in (None, name):
                with suppress(OSError, RuntimeError):
                    await send(socket)

    async def _status(self) -> None:
        count = len(self.pending) + len(self.running)
        await self._send(None, "status", status={"exec_info": {"queue_remaining": count}})

    # ── routes ───────────────────────────────────────────────────────────────────────────────────

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.query["clientId"]
        self.sockets[client] = socket
        count = len(self.pending) + len(self.running)
        status = {"exec_info": {"queue_remaining": count}}
        await self._send(client, "status", status=status, sid=client)
        try:
            async for message in socket:
                assert message.type is WSMsgType.TEXT
                said = json.loads(message.data)
                assert said["type"] == "feature_flags"
                if said["data"].get("supports_preview_metadata"):
                    self.metadata.add(client)
        finally:
            if self.sockets.get(client) is socket:
                del self.sockets[client]
        return socket

    async def _stats(self, _request: web.Request) -> web.Response:
        return web.json_response(vector("system_stats")["answer"])

    async def _info(self, request: web.Request) -> web.Response:
        for name in ("object_info_sampler", "object_info_checkpoint"):
            answer = vector(name)["answer"]
            if request.match_info["kind"] in answer:
                return web.json_response(answer)
        return web.json_response({})

    async def _prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert body.keys() == vector("prompt")["request"].keys()
        for node in body["prompt"].values():
            assert node.keys() == {"class_type", "inputs"}
        size = body["prompt"].get("5", {}).get("inputs", {}).get("width", 0)
        if isinstance(size, int) and size > 8192:
            return web.json_response(vector("prompt_refused")["answer"], status=400)
        name = str(uuid.uuid4()) if self.old else body["prompt_id"]
        assert str(uuid.UUID(name)) == name
        extra = {"client_id": body["client_id"], "create_time": 1}
        self.asked.append((name, body["prompt"]))
        self.pending.append([self._numbers, name, body["prompt"], extra, ["9"]])
        answer: Json = {"prompt_id": name, "number": self._numbers, "node_errors": {}}
        assert answer.keys() == vector("prompt")["answer"].keys()
        self._numbers += 1
        self._more.set()
        await self._status()
        return web.json_response(answer)

    async def _queue(self, _request: web.Request) -> web.Response:
        self.queue_asked += 1
        # A heap's list is in no particular order but for its first.
        return web.json_response(
            {"queue_running": self.running, "queue_pending": self.pending[:1] + self.pending[:0:-1]}
        )

    async def _delete(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert body.keys() == vector("queue_delete")["request"].keys()
        self.pending = [item for item in self.pending if item[1] not in body["delete"]]
        await self._status()
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert body.keys() == vector("interrupt")["request"].keys()
        if self.old or any(item[1] == body["prompt_id"] for item in self.running):
            self.interrupt()
        return web.Response()

    def interrupt(self) -> None:
        """Stops whatever runs."""
        self.interrupts += 1
        self._stop.set()

    async def _history(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        return web.json_response({name: self.history[name]} if name in self.history else {})

    async def _view(self, request: web.Request) -> web.Response:
        assert list(request.query) == vector("view")["query"]
        data = self.files.get(request.query["filename"])
        if data is None:
            return web.Response(status=404)
        if self.lost_views and request.transport is not None:
            self.lost_views -= 1
            request.transport.abort()
        return web.Response(body=data, content_type="image/png")

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert sorted(form) == vector("upload_image")["form"]
        image = form["image"]
        assert isinstance(image, web.FileField)
        assert isinstance(form["subfolder"], str)
        name = f"{form['subfolder']}/{image.filename}"
        self.uploads[name] = image.file.read()
        answer: Json = {
            "name": image.filename,
            "subfolder": form["subfolder"],
            "type": form["type"],
        }
        assert answer.keys() == vector("upload_image")["answer"].keys()
        return web.json_response(answer)

    # ── the worker ───────────────────────────────────────────────────────────────────────────────

    async def _work(self) -> None:
        while True:
            while not self.pending:
                self._more.clear()
                await self._more.wait()
            item = self.pending.pop(0)
            self.running.append(item)
            await self._status()
            await self._execute(item)

    async def _execute(self, item: list[Any]) -> None:
        _, name, graph, extra, _ = item
        client = extra["client_id"]
        self._stop.clear()
        told: list[Any] = []

        async def add(kind: str, **data: object) -> None:
            data = {**data, "timestamp": 1_700_000_000_000 + 1000 * len(told)}
            told.append([kind, data])
            await self._send(None if kind == "execution_interrupted" else client, kind, **data)

        await add("execution_start", prompt_id=name)
        await add("execution_cached", nodes=[], prompt_id=name)
        outputs: Json = {}
        node = "4"
        try:
            for node in ("4", "6", "3", "8", "9"):
                await self._node(client, name, node, graph, outputs)
            await add("execution_success", prompt_id=name)
        except Interrupted:
            await add(
                "execution_interrupted",
                prompt_id=name,
                node_id=node,
                node_type=graph[node]["class_type"],
                executed=["4"],
            )
        except MemoryError:
            error = MESSAGES["execution_error"] | {"prompt_id": name}
            error.pop("timestamp")
            await add("execution_error", **error)
        status = {
            "status_str": "success" if told[-1][0] == "execution_success" else "error",
            "completed": told[-1][0] == "execution_success",
            "messages": told,
        }
        past = {"prompt": item, "outputs": outputs, "status": status, "meta": {}}
        (expected,) = vector("history")["answer"].values()
        assert past.keys() == expected.keys()
        assert status.keys() == expected["status"].keys()
        self.running.remove(item)
        self.history[name] = past
        await self._status()
        if self.old:
            await self._send(client, "executing", node=None, prompt_id=name)

    async def _node(self, client: str, name: str, node: str, graph: Json, outputs: Json) -> None:
        shown = {} if self.old else {"display_node": node}
        await self._send(client, "executing", node=node, prompt_id=name, **shown)
        inputs = graph[node]["inputs"]
        if graph[node]["class_type"] == "KSampler":
            for step in range(1, inputs["steps"] + 1):
                await self._step(client, name, step, inputs["steps"])
        if graph[node]["class_type"] == "SaveImage":
            latent = graph.get("5", {}).get("inputs", {})
            side = (latent.get("width", 16), latent.get("height", 16))
            file = f"penstock_{len(self.files):05}_.png"
            self.files[file] = colour(side, graph["3"]["inputs"]["seed"])
            output = {"images": [{"filename": file, "subfolder": "", "type": "output"}]}
            outputs[node] = output
            await self._send(client, "executed", node=node, output=output, prompt_id=name, **shown)

    async def _step(self, client: str, name: str, step: int, of: int) -> None:
        waiting = asyncio.get_running_loop().create_task(self._gated(step))
        stopping = asyncio.get_running_loop().create_task(self._stop.wait())
        try:
            await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set():
                raise Interrupted
            await waiting
        finally:
            waiting.cancel()
            stopping.cancel()
        progress = {"value": step, "max": of, "prompt_id": name, "node": "3"}
        jpeg = colour((8, 8), step, "JPEG")
        if self.old:  # the picture after its step
            await self._send(client, "progress", **progress)
            await self._bytes(client, (1).to_bytes(4, "big") + (1).to_bytes(4, "big") + jpeg)
            return
        (shape,) = MESSAGES["progress_state"]["nodes"].values()
        state = shape | {"value": float(step), "max": float(of), "prompt_id": name}
        await self._send(client, "progress_state", prompt_id=name, nodes={"3": state})
        if client in self.metadata:
            about = {
                "node_id": "3",
                "prompt_id": name,
                "display_node_id": "3",
                "parent_node_id": None,
                "real_node_id": "3",
                "image_type": "image/jpeg",
            }
            told = json.dumps(about).encode()
            head = (4).to_bytes(4, "big") + len(told).to_bytes(4, "big") + told
            await self._bytes(client, head + jpeg)
        await self._send(client, "progress", **progress)

    async def _bytes(self, client: str, data: bytes) -> None:
        await self._out(client, lambda socket: socket.send_bytes(data))

    async def _gated(self, step: int) -> None:
        await self.gate(step)
