"""Which models are loaded: on first use, so many at a time, the one unused for longest goes."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final

from penstock.core.errors import UnavailableError
from penstock.core.events import Progress
from penstock.engines import _llama_server
from penstock.engines._gguf import ModelFile
from penstock.engines._llama_facts import Known
from penstock.engines._llama_server import LlamaServer, Settings
from penstock.engines._slots import Slots

_NOTICEABLE: Final = 0.25
_AGAIN: Final = 1.0


class Model:
    """One model of the shelf, loaded or not. Everything but `load` and `unload` is of the loop.

    `server` talks, `embedder` makes vectors: each is loaded when it is first used.
    """

    def __init__(self, name: str, file: ModelFile, settings: Settings, shelf: "Shelf") -> None:
        self.name = name
        self.file = file
        self.slots = Slots(settings.parallel, shelf.max_queue, shelf.wake)
        self.embedding = Slots(1, shelf.max_queue, shelf.wake)
        self.server: LlamaServer | None = None
        self.embedder: LlamaServer | None = None
        self.loading: asyncio.Future[None] | None = None
        self.bytes_read = 0
        self.known: Known | None = None
        """What its header says, once somebody asked."""
        self._settings = settings
        self._wake = shelf.wake
        self._holds = 0

    @property
    def loaded(self) -> bool:
        """Whether anything of it is in memory."""
        return self.server is not None or self.embedder is not None

    @property
    def context(self) -> int:
        """Of one conversation or text, in tokens; 0 while nothing is loaded."""
        server = self.server or self.embedder
        return server.context if server is not None else 0

    @property
    def cached(self) -> int:
        """For how many tokens memory is taken."""
        talking = self.server.context * self._settings.parallel if self.server is not None else 0
        return talking + (self.embedder.context if self.embedder is not None else 0)

    @property
    def idle(self) -> bool:
        """Whether nobody uses it, waits for it or holds it."""
        return not self._holds and self.slots.idle and self.embedding.idle

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, what is loaded stays."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if self.idle:
                self._wake()

    def part(self, *, embedding: bool) -> LlamaServer | None:
        """The server of a kind, if it is there."""
        return self.embedder if embedding else self.server

    def load(self, *, embedding: bool) -> None:
        """On a thread."""
        self.bytes_read = 0
        _llama_server.read_through(self.file.path, self._tell)
        server = LlamaServer(self.name, self.file, self._settings, embedding=embedding)
        if embedding:
            self.embedder = server
        else:
            self.server = server

    def _tell(self, bytes_read: int) -> None:
        self.bytes_read = bytes_read


class Shelf:
    """All models of a path, and those of them that are loaded."""

    def __init__(
        self, files: Mapping[str, ModelFile], settings: Settings, *, max_loaded: int, max_queue: int
    ) -> None:
        self.max_queue = max_queue
        self._settings = settings
        self._max_loaded = max_loaded
        self._loaded: list[Model] = []  # the one unused for longest first; loading ones too
        self._gone: list[Model] = []  # no longer offered, still in memory
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-llama-loader")
        self._waiters: list[asyncio.Future[None]] = []
        self._closed = False
        self.pool = ThreadPoolExecutor(
            settings.parallel * max_loaded, thread_name_prefix="penstock-llama"
        )
        """Threads for calls of loaded models: one for every slot."""
        self.asking = ThreadPoolExecutor(2, thread_name_prefix="penstock-llama-ask")
        """Threads for tokens and vectors, which must not take a run's place."""
        self.models: dict[str, Model] = {}
        self.offer(files)

    def offer(self, files: Mapping[str, ModelFile]) -> None:
        """From now on these are the models. One whose file is gone or changed is let go of."""
        for name, model in list(self.models.items()):
            if files.get(name) != model.file:
                del self.models[name]
                self._gone.append(model)
        for name, file in files.items():
            if name not in self.models:
                self.models[name] = Model(name, file, self._settings, self)
        self.models = {name: self.models[name] for name in files}
        self._let_go()

    @property
    def loaded(self) -> list[Model]:
        """What is in memory, the one used last at the end."""
        return [model for model in self._loaded if model.loaded]

    async def get(self, model: Model, *, embedding: bool = False) -> AsyncGenerator[Progress]:
        """Loads a model if it isn't; yields what there is to say while that takes long.

        Its caller holds the model or a ticket of it, so that it stays. Afterwards its server of
        this kind is there. Raises `EngineError` when it can't be loaded.
        """
        told = False
        self._check_open()
        while model.part(embedding=embedding) is None:
            self._check_open()
            loading = model.loading
            if loading is None and not self._make_room(model):
                # Asked again after the yield: who left meanwhile would not be heard of.
                if told:
                    await self._something_idle()
                else:
                    yield Progress(what="queued", text=model.name)
                told = True
                continue
            loading = loading or self._load(model, embedding=embedding)
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
        with model.held():
            async for _ in self.get(model, embedding=model.file.embeds):
                continue

    async def unload(self, model: Model) -> None:
        """Lets go of a model as soon as nobody uses it, and waits for that."""
        while model.loaded or model.loading is not None:
            if self._closed:
                return
            if model.idle and model.loading is None:
                self._loaded.remove(model)
                await asyncio.gather(*self._drop(model))
            else:
                await self._something_idle()

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("the engine is closed")

    def _load(self, model: Model, *, embedding: bool) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if model not in self._loaded:
            self._loaded.append(model)
        load = partial(model.load, embedding=embedding)
        model.loading = loop.run_in_executor(self._thread, load)
        model.loading.add_done_callback(lambda done: self._settle(model, done))
        return model.loading

    def _settle(self, model: Model, done: asyncio.Future[None]) -> None:
        model.loading = None
        failed = done.cancelled() or done.exception() is not None
        if failed and not model.loaded:
            self._loaded.remove(model)
        self.wake()

    def _make_room(self, wanted: Model) -> bool:
        """Whether one more may be loaded; unloads an idle one for it, in turn before the load."""
        if wanted in self._loaded or len(self._loaded) < self._max_loaded:
            return True
        for model in self._loaded:
            if model.loaded and model.idle and model.loading is None:
                self._loaded.remove(model)
                self._drop(model)
                return True
        return False

    def _drop(self, model: Model) -> list[asyncio.Future[None]]:
        servers = [server for server in (model.server, model.embedder) if server is not None]
        model.server = model.embedder = None
        loop = asyncio.get_running_loop()
        return [loop.run_in_executor(self._thread, server.close) for server in servers]

    async def _something_idle(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def wake(self) -> None:
        """Something is idle, or loaded, that was not."""
        self._let_go()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _let_go(self) -> None:
        if self._closed:
            return
        for model in [m for m in self._gone if m.idle and m.loading is None]:
            self._gone.remove(model)
            if model in self._loaded:
                self._loaded.remove(model)
            self._drop(model)

    async def aclose(self) -> None:
        """Waits until nobody decodes or loads any more, then frees all of it."""
        self._closed = True
        self.wake()
        models = {*self.models.values(), *self._loaded}
        for model in models:
            while not model.idle or model.loading is not None:
                await self._something_idle()
        for model in models:
            for dropped in self._drop(model):
                await dropped
        self._loaded.clear()
        self._thread.shutdown()
        self.pool.shutdown()
        self.asking.shutdown()
