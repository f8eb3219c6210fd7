"""A web UI server with Automatic1111's API, for what a test can't have: it draws nothing.

Written from `modules/api/api.py`, `modules/progress.py` and `modules/shared_state.py` of
AUTOMATIC1111/stable-diffusion-webui 1.10: one lock, one global state that `begin` resets, tasks by
name, steps that look at `interrupted`. Answers have the shapes of the vectors. Faults are this
file's own.
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import msgspec
from aiohttp import web
from tests.contract.image_vectors import Case, base64, png

Fault = Literal[
    "", "cut", "html", "memory", "bad_base64", "no_picture", "silent", "validation", "lost"
]
USER, PASSWORD = "painter", "sesame"
FINISHED, PREVIEW, FOREIGN = png("red"), png("yellow"), png("black")
STEPS = 20


def _shape(name: str) -> dict[str, object]:
    found = msgspec.json.decode((Case("sdwebui", name).folder / "answer.json").read_bytes())
    assert isinstance(found, dict)
    return found


class SdWebui:
    """The server. `names`: it goes by `force_task_id`; `internal`: it has `/internal/progress`."""

    def __init__(self) -> None:
        self.url = ""
        self.names = True
        self.internal = True
        self.has_schedulers = True
        self.auth = False
        self.fault: Fault = ""
        self.step_seconds = 0.01
        self.gate: asyncio.Semaphore | None = None
        """One permit a step, where a test wants to lead."""
        self.asked: list[tuple[str, dict[str, object]]] = []
        self.drawn: list[tuple[str, int]] = []
        """The prompt of each job that has ended, and the steps it took."""
        self.interrupts: list[str] = []
        """The prompt of the job that each interrupt met."""
        self.handlers: list[asyncio.Task[None]] = []
        self._lock = asyncio.Lock()
        self._pending: list[str] = []
        self._finished: list[str] = []
        self._current: str | None = None
        self._count = 0
        self._jobs = 0
        self._stamp = 20251021221750
        self._job = ""
        self._prompt = ""
        self._no = self._step = self._steps = self._preview_id = 0
        self._interrupted = False
        self._image = b""

    @property
    def step(self) -> int:
        """That the job is at."""
        return self._step

    # ── routes ───────────────────────────────────────────────────────────────────────────────────

    async def draw(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, object] = msgspec.json.decode(await request.read())
        self.asked.append((request.path, body))
        if self.fault == "silent":
            await asyncio.Event().wait()
        if self.fault == "html":
            return web.Response(text="<html>Bad gateway</html>", content_type="text/html")
        if self.fault == "validation":
            return web.json_response(_shape("error_validation"), status=422)
        named = self.names and isinstance(body.get("force_task_id"), str)
        task = str(body["force_task_id"]) if named else f"task(txt2img-{len(self.asked)})"
        # The real one goes on when its client is gone: it draws in a thread.
        work = asyncio.ensure_future(self.job(task, body))
        self.handlers.append(work)
        if self.fault == "lost":
            while self._count < 3:
                await asyncio.sleep(self.step_seconds)
            assert request.transport is not None
            request.transport.abort()
        await asyncio.shield(work)
        return await self._answer(request, body)

    async def job(self, task: str, body: dict[str, object], preview: bytes = PREVIEW) -> None:
        """One job, as `text2imgapi` and `process_images` go through it."""
        self._pending.append(task)
        async with self._lock:
            self._begin(task, str(body["prompt"]))
            try:
                await self._draw(body, preview)
                self._finished.append(task)
                self._current = None
            finally:
                self.drawn.append((self._prompt, self._count))
                self._job, self._jobs = "", 0

    async def progress(self, request: web.Request) -> web.Response:
        found = _shape("progress")
        skip = request.query.get("skip_current_image") == "true"
        found["state"] = {
            "skipped": False,
            "interrupted": self._interrupted,
            "stopping_generation": False,
            "job": self._job,
            "job_count": self._jobs,
            "job_timestamp": str(self._stamp),
            "job_no": self._no,
            "sampling_step": self._step,
            "sampling_steps": self._steps,
        }
        shown = self._jobs and self._image and not skip
        found["current_image"] = base64(self._image) if shown else None
        return web.json_response(found)

    async def internal_progress(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read())
        task = asked["id_task"]
        active = task == self._current
        found = dict.fromkeys(_shape("internal_progress"))
        found |= {
            "active": active,
            "queued": task in self._pending,
            "paused": False,
            "completed": task in self._finished,
            "id_live_preview": -1,
            "textinfo": None if active else "Waiting...",
        }
        if active:
            found |= {"progress": 0.1, "id_live_preview": asked["id_live_preview"]}
            if self._image and self._preview_id != asked["id_live_preview"]:
                found["live_preview"] = f"data:image/jpeg;base64,{base64(self._image)}"
                found["id_live_preview"] = self._preview_id
        return web.json_response(found)

    async def interrupt(self, request: web.Request) -> web.Response:
        del request
        self.interrupts.append(self._prompt if self._jobs else "")
        self._interrupted = True
        return web.json_response({})

    async def shape(self, request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2].replace("-", "_")
        if name == "schedulers" and not self.has_schedulers:
            return web.json_response({"detail": "Not Found"}, status=404)
        data = (Case("sdwebui", name).folder / "answer.json").read_bytes()
        return web.Response(body=data, content_type="application/json")

    # ── the work ─────────────────────────────────────────────────────────────────────────────────

    def _begin(self, task: str, prompt: str) -> None:
        self._stamp += 1
        self._job, self._jobs, self._no, self._step, self._steps = "scripts_txt2img", -1, 0, 0, 0
        self._interrupted, self._image, self._preview_id = False, b"", 0
        self._prompt, self._count, self._current = prompt, 0, task
        self._pending.remove(task)

    async def _draw(self, body: dict[str, object], preview: bytes) -> None:
        if self.fault == "memory":
            raise MemoryError
        self._jobs = int(str(body.get("n_iter", 1)))
        self._steps = int(str(body.get("steps", STEPS)))
        for no in range(self._jobs):
            self._no = no
            self._job = f"Batch {no + 1} out of {self._jobs}"
            for step in range(1, self._steps + 1):
                self._step = step
                if self._interrupted:
                    return
                if self.gate is not None:
                    await self.gate.acquire()
                else:
                    await asyncio.sleep(self.step_seconds)
                self._count += 1
                self._image, self._preview_id = preview, self._preview_id + 1

    async def _answer(self, request: web.Request, body: dict[str, object]) -> web.StreamResponse:
        found = _shape("txt2img")
        count = int(str(body.get("n_iter", 1)))
        picture = "%%%" if self.fault == "bad_base64" else base64(FINISHED)
        found["images"] = [] if self.fault == "no_picture" else [picture] * count
        found["parameters"] = body
        info = msgspec.json.decode(str(found["info"]))
        seed = int(str(body.get("seed", 370911593)))
        info |= {
            "prompt": body["prompt"],
            "all_prompts": [body["prompt"]] * count,
            "seed": seed,
            "all_seeds": [seed + n for n in range(count)],
            "steps": body.get("steps", STEPS),
        }
        found["info"] = msgspec.json.encode(info).decode()
        data = msgspec.json.encode(found)
        if self.fault != "cut":
            return web.Response(body=data, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        assert request.transport is not None
        request.transport.abort()
        return response

    @web.middleware
    async def guard(self, request: web.Request, handler: object) -> web.StreamResponse:
        assert callable(handler)
        wanted = f"Basic {b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
        guarded = self.auth and request.path.startswith("/sdapi")
        if guarded and request.headers.get("Authorization") != wanted:
            headers = {"WWW-Authenticate": "Basic"}
            return web.json_response(_shape("error_auth"), status=401, headers=headers)
        if request.path == "/internal/progress" and not self.internal:
            return web.json_response({"detail": "Not Found"}, status=404)
        try:
            found: web.StreamResponse = await handler(request)
        except MemoryError:
            return web.json_response(_shape("error_memory"), status=500)
        return found


@asynccontextmanager
async def sdwebui() -> AsyncIterator[SdWebui]:
    """Serves on a free port of this machine."""
    server = SdWebui()
    app = web.Application(client_max_size=64 * 1024 * 1024, middlewares=[server.guard])
    app.router.add_post("/sdapi/v1/txt2img", server.draw)
    app.router.add_post("/sdapi/v1/img2img", server.draw)
    app.router.add_get("/sdapi/v1/progress", server.progress)
    app.router.add_post("/sdapi/v1/interrupt", server.interrupt)
    app.router.add_post("/internal/progress", server.internal_progress)
    for name in ("sd-models", "samplers", "schedulers", "options"):
        app.router.add_get(f"/sdapi/v1/{name}", server.shape)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        for work in server.handlers:
            work.cancel()
        await asyncio.gather(*server.handlers, return_exceptions=True)
        await runner.cleanup()
