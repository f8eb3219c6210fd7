"""Which models are loaded: on first use, so many at a time, the one unused for longest goes."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from penstock.core.errors import UnavailableError
from penstock.core.events import Progress
from penstock.engines import _llama_server
from penstock.engines._gguf import ModelFile
from penstock.engines._llama_server import LlamaServer, Settings
from penstock.engines._slots import Slots

_NOTICEABLE: Final = 0.25
_AGAIN: Final = 1.0


class Model:
    """One model of the shelf, loaded or not. Everything but `load` and `unload` is of the loop."""

    def __init__(self, name: str, file: ModelFile, slots: Slots) -> None:
        self.name = name
        self.file = file
        self.slots = slots
        self.server: LlamaServer | None = None
        self.loading: asyncio.Future[None] | None = None
        self.bytes_read = 0

    def load(self, settings: Settings) -> None:
        """On a thread."""
        self.bytes_read = 0
        _llama_server.read_through(self.file.path, self._tell)
        self.server = LlamaServer(self.name, self.file, settings)

    def _tell(self, bytes_read: int) -> None:
        self.bytes_read = bytes_read


class Shelf:
    """All models of a path, and those of them that are loaded."""

    def __init__(
        self, files: Mapping[str, ModelFile], settings: Settings, *, max_loaded: int, max_queue: int
    ) -> None:
        self._settings = settings
        self._max_loaded = max_loaded
        self._loaded: list[Model] = []  # the one unused for longest first; loading ones too
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-llama-loader")
        self._waiters: list[asyncio.Future[None]] = []
        self._closed = False
        self.pool = ThreadPoolExecutor(
            settings.parallel * max_loaded, thread_name_prefix="penstock-llama"
        )
        """Threads for calls of loaded models: one for every slot."""
        self.models = {
            name: Model(name, file, Slots(settings.parallel, max_queue, self._wake))
            for name, file in files.items()
        }

    async def get(self, model: Model) -> AsyncGenerator[Progress]:
        """Loads a model if it isn't; yields what there is to say while that takes long.

        Its caller holds a ticket of the model's, so that it stays. Afterwards `model.server` is
        there. Raises `EngineError` when it can't be loaded.
        """
        told = False
        self._check_open()
        while model.server is None:
            self._check_open()
            loading = model.loading
            if loading is None and not self._make_room():
                # Asked again after the yield: who left meanwhile would not be heard of.
                if told:
                    await self._something_idle()
                else:
                    yield Progress(what="queued", text=model.name)
                told = True
                continue
            loading = loading or self._load(model)
            wait = _NOTICEABLE
            while not (await asyncio.wait([loading], timeout=wait))[0]:
                yield Progress(
                    what="loading", at=model.bytes_read, of=model.file.size, text=model.name
                )
                wait = _AGAIN
            loading.result()
        if model in self._loaded:
            self._loaded.remove(model)
            self._loaded.append(model)

    async def preload(self, model: Model) -> None:
        """Loads a model before anybody asks for it. Raises `EngineError`."""
        ticket = model.slots.enter()
        try:
            async for _ in self.get(model):
                continue
        finally:
            ticket.leave()

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("the engine is closed")

    def _load(self, model: Model) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        self._loaded.append(model)
        model.loading = loop.run_in_executor(self._thread, model.load, self._settings)
        model.loading.add_done_callback(lambda done: self._settle(model, done))
        return model.loading

    def _settle(self, model: Model, done: asyncio.Future[None]) -> None:
        model.loading = None
        if done.cancelled() or done.exception() is not None:
            self._loaded.remove(model)
        self._wake()

    def _make_room(self) -> bool:
        """Whether one more may be loaded; unloads an idle one for it, in turn before the load."""
        if len(self._loaded) < self._max_loaded:
            return True
        for model in self._loaded:
            if model.server is not None and model.slots.idle:
                self._loaded.remove(model)
                self._drop(model)
                return True
        return False

    def _drop(self, model: Model) -> asyncio.Future[None] | None:
        server, model.server = model.server, None
        if server is None:
            return None
        return asyncio.get_running_loop().run_in_executor(self._thread, server.close)

    async def _something_idle(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def aclose(self) -> None:
        """Waits until nobody decodes or loads any more, then frees all of it."""
        self._closed = True
        self._wake()
        for model in self.models.values():
            while not model.slots.idle or model.loading is not None:
                await self._something_idle()
        for model in self._loaded:
            dropped = self._drop(model)
            if dropped is not None:
                await dropped
        self._loaded.clear()
        self._thread.shutdown()
        self.pool.shutdown()
