"""GGUF models in this process, by llama.cpp. With nothing configured: the demo model."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, TypeVar

import msgspec

from penstock.config import paths
from penstock.core.cards import ModelCard
from penstock.core.errors import (
    ConfigError,
    EngineError,
    ModalityError,
    UnavailableError,
    UnknownModelError,
)
from penstock.core.events import Event, Progress, Timings
from penstock.core.ports import Timeouts
from penstock.core.queries import EmbedAsk, Embedded, LoadedModel, ModelDetails, TokensAsk
from penstock.core.request import Modality, Request
from penstock.engines import (
    _gguf,
    _llama_body,
    _llama_errors,
    _llama_facts,
    _llama_files,
    _llama_forced,
    _llama_tokens,
    _llama_vectors,
)
from penstock.engines._gguf import ModelFile
from penstock.engines._llama_config import Config as Config
from penstock.engines._llama_digests import UNASKED_BYTES, Digests
from penstock.engines._llama_facts import Known
from penstock.engines._llama_server import LlamaServer, Settings, context_of
from penstock.engines._llama_shelf import Model, Shelf
from penstock.engines._openai_wire import Chunks
from penstock.engines._slots import Ticket
from penstock.engines._threads import Feed

T = TypeVar("T")
_DEMO: Final = Path(__file__).parent.parent / "models" / "penstock-demo.gguf"


class Engine:
    """Runs GGUF models in this process: `core.ports.Engine`."""

    description: ClassVar[str] = "GGUF models in this process, by llama.cpp"
    supports: ClassVar[frozenset[str]] = frozenset(
        {
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "stop",
            "seed",
            "presence_penalty",
            "frequency_penalty",
            "repeat_penalty",
            "repeat_last_n",
            "logit_bias",
            "logprobs",
            "top_logprobs",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "reply_format",
            "effort",
            "raw",
            "suffix",
        }
    )
    outputs: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, config: Config, timeouts: Timeouts) -> None:
        self._config = config
        self._timeouts = timeouts
        self._starting = asyncio.Lock()
        self._shelf: Shelf | None = None
        self._default = ""
        self._feeds: set[Feed[bytes]] = set()
        self._closed = False
        self._own: dict[str, ModelFile] | None = None
        self._stored: dict[str, ModelFile] = {}
        self._digests = Digests()

    async def start(self) -> None:
        """Looks at the files and loads the default model, unless it is to be on first use.

        Raises `ConfigError` whose `param` is the setting that is wrong; whoever asks later is told
        the same.
        """
        async with self._starting:
            if self._shelf is not None:
                return
            config = self._config
            files = await asyncio.to_thread(self._files)
            if config.model is not None and config.model not in files:
                raise ConfigError(
                    f"there is no model {config.model!r}; there are: {', '.join(files)}",
                    param="model",
                )
            self._default = config.model or next(iter(files))
            shelf = Shelf(
                files,
                Settings(
                    context=config.context,
                    threads=config.threads,
                    parallel=config.parallel,
                    gpu_layers=config.gpu_layers,
                    prompt_cache_mib=config.prompt_cache_mib,
                ),
                max_loaded=config.max_loaded,
                max_queue=config.max_queue,
            )
            self._shelf = shelf
            if config.load == "start":
                await self._preload(shelf)

    async def _preload(self, shelf: Shelf) -> None:
        try:
            await shelf.preload(shelf.models[self._default])
        except EngineError as error:
            self._shelf = None
            await shelf.aclose()
            raise ConfigError(error.message, param="path") from error

    async def stream(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        """Runs `request`. Closing stops the decoding at the next token or batch of the prompt."""
        shelf = await self._ready()
        model = await self._find(shelf, request.model)
        if model.file.embeds:
            raise ModalityError(f"the model {model.name!r} makes vectors and says nothing")
        body = await self._body(model, request)
        with ExitStack() as held:
            ticket = model.slots.enter()
            held.callback(ticket.leave)
            while (place := ticket.place) > 0:
                yield [Progress(what="queued", at=place, of=model.slots.waiting)]
                await ticket.moved(place)
            async with aclosing(shelf.get(model)) as progress:
                async for said in progress:
                    yield [said]
            self._check_open()
            forced = _llama_forced.is_forced(request)
            if forced and model.server is not None:
                work = partial(_llama_forced.body, model.server, request)
                body = await _elsewhere(shelf, work)
                self._check_open()
            feed = self._begin(shelf, model, body, ticket, raw=request.raw or forced)
            held.pop_all()
        call = _llama_forced.call_of(request) if forced else None
        try:
            async with aclosing(self._events(feed, request, forced=forced)) as batches:
                async for batch in batches:
                    yield batch if call is None else call.feed(batch)
        finally:
            feed.cancel()
            self._feeds.discard(feed)

    async def _body(self, model: Model, request: Request) -> bytes:
        if not request.raw:
            return _llama_body.chat(request)
        known = await _known(model) if request.suffix is not None else None
        return _llama_body.raw(request, known.gap if known is not None else None)

    def _begin(
        self, shelf: Shelf, model: Model, body: bytes, ticket: Ticket, *, raw: bool
    ) -> Feed[bytes]:
        """Hands a run in. Its slot is free again when llama.cpp has let go of it, not before."""
        if model.server is None:
            raise UnavailableError("the model was unloaded")
        work = model.server.complete if raw else model.server.chat
        feed = Feed[bytes](shelf.pool, partial(work, body))
        feed.when_over(ticket.leave)
        self._feeds.add(feed)
        return feed

    async def _events(
        self, feed: Feed[bytes], request: Request, *, forced: bool
    ) -> AsyncGenerator[list[Event]]:
        chunks = Chunks(think_tags=not (request.raw or forced))
        accepted = False
        feed.allow(self._timeouts.first_token)
        while True:
            batch = await _llama_errors.taken(feed, request)
            if not batch:
                self._check_open()
                yield chunks.end()
                return
            if not accepted and batch[0].startswith(_llama_errors.BEGINNING):
                raise _llama_errors.refusal(batch[0], request)
            events = [event for data in batch for event in chunks.feed(data)]
            if events:
                feed.allow(self._timeouts.between_tokens)
            if events or not accepted:
                accepted = True
                yield events

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("the engine is closed")

    async def _ready(self) -> Shelf:
        self._check_open()
        if self._shelf is None:
            await self.start()
        self._check_open()
        assert self._shelf is not None
        return self._shelf

    async def _find(self, shelf: Shelf, name: str) -> Model:
        name = (name or self._default).removesuffix(".gguf")
        found = _named(shelf, name)
        if found is None:
            await self._look_again(shelf)
            found = _named(shelf, name)
        if found is None:
            raise UnknownModelError(f"there is no model {name!r} here", param="model")
        return found

    async def _look_again(self, shelf: Shelf) -> None:
        """Files of the store come and go while we run."""
        if self._config.models_folder is None:
            return
        async with self._starting:
            self._check_open()
            shelf.offer(await asyncio.to_thread(self._files))

    def _files(self) -> dict[str, ModelFile]:
        """Blocks on the disk. What `path` names comes first, and wins."""
        config = self._config
        if self._own is None:
            path = _DEMO if config.path is None else paths.place(config.path)
            self._own = _llama_files.find(path)
        if config.models_folder is None:
            return self._own
        folder = paths.place(config.models_folder)
        self._stored = _llama_files.there(folder, self._stored)
        more = {name: file for name, file in self._stored.items() if name not in self._own}
        return self._own | more

    async def models(self) -> Sequence[ModelCard]:
        """All models of the path and the folder, with the context that they have here."""
        shelf = await self._ready()
        await self._look_again(shelf)
        small = (model for model in shelf.models.values() if model.file.size <= UNASKED_BYTES)
        await self._digests.look(model.file for model in (*shelf.loaded, *small))
        return [
            msgspec.structs.replace(
                self._card(model), context_size=context_of(model.file, self._config.context)
            )
            for model in shelf.models.values()
        ]

    def _card(self, model: Model) -> ModelCard:
        return _llama_files.card(model.name, model.file, self._digests.known(model.file))

    # ── tokens and vectors ───────────────────────────────────────────────────────────────────────

    async def tokenize(self, ask: TokensAsk) -> Sequence[int]:
        """By the model's own tokenizer; loads the model. See `core.ports.Tokenizer`."""
        async with self._loaded(ask.model) as (shelf, model, server):
            known = await _known(model)
            return await _elsewhere(shelf, partial(_llama_tokens.tokenize, server, ask, known))

    async def detokenize(self, ask: TokensAsk) -> str:
        """The text of ids. Raises `InvalidRequestError` naming the one that there is not."""
        async with self._loaded(ask.model) as (shelf, model, server):
            known = await _known(model)
            return await _elsewhere(shelf, partial(_llama_tokens.detokenize, server, ask, known))

    async def embed(self, ask: EmbedAsk) -> Embedded:
        """Vectors of length one. One ask at a time for a model; the others wait in line."""
        async with self._loaded(ask.model, embedding=True) as (shelf, model, server):
            ticket = model.embedding.enter()
            try:
                while (place := ticket.place) > 0:
                    await ticket.moved(place)
                begun = time.perf_counter_ns()
                ids = await _elsewhere(shelf, partial(_llama_vectors.tokens, server, ask))
                found: _llama_vectors.Vectors = []
                for group in _llama_vectors.groups(ids):
                    self._check_open()
                    work = partial(_llama_vectors.vectors, server, group)
                    found += await _elsewhere(shelf, work)
            finally:
                ticket.leave()
        return Embedded(
            vectors=tuple(_llama_vectors.shortened(found, ask)),
            input_tokens=sum(map(len, ids)),
            timings=Timings(prompt=time.perf_counter_ns() - begun),
        )

    @asynccontextmanager
    async def _loaded(
        self, name: str, *, embedding: bool = False
    ) -> AsyncIterator[tuple[Shelf, Model, LlamaServer]]:
        """A model in memory, which stays there inside the block."""
        shelf = await self._ready()
        model = await self._find(shelf, name)
        with model.held():
            kind = embedding or model.file.embeds
            async with aclosing(shelf.get(model, embedding=kind)) as progress:
                async for _ in progress:
                    continue
            server = model.part(embedding=kind)
            if server is None:
                raise UnavailableError("the model was unloaded")
            yield shelf, model, server

    # ── what is known, and what is in memory ─────────────────────────────────────────────────────

    async def describe(self, model: str) -> ModelDetails:
        """From the file's header; loads nothing."""
        shelf = await self._ready()
        found = await self._find(shelf, model)
        known = await _known(found)
        return ModelDetails(
            card=self._card(found),
            template=known.template,
            license=known.license,
            metadata=known.metadata,
            capabilities=known.capabilities,
        )

    async def loaded(self) -> Sequence[LoadedModel]:
        """What is in memory, the one used last at the end. Stays until another needs its place."""
        if self._shelf is None:
            return ()
        return [
            LoadedModel(
                card=self._card(model),
                size=model.file.size + _llama_facts.cache(await _known(model), model.cached),
                context=model.context,
            )
            for model in self._shelf.loaded
        ]

    async def load(self, model: str) -> None:
        """Takes a model into memory; another one that is idle may have to go for it."""
        shelf = await self._ready()
        await shelf.preload(await self._find(shelf, model))

    async def unload(self, model: str) -> None:
        """Lets go of a model once what runs on it has ended."""
        shelf = await self._ready()
        await shelf.unload(await self._find(shelf, model))

    async def aclose(self) -> None:
        """Ends all runs and frees the models. Waits for the batches that are being decoded."""
        self._closed = True
        for feed in self._feeds:
            feed.cancel()
        await self._digests.aclose()
        async with self._starting:
            if self._shelf is not None:
                await self._shelf.aclose()


def _named(shelf: Shelf, name: str) -> Model | None:
    if name in shelf.models:
        return shelf.models[name]
    return next((m for m in shelf.models.values() if m.file.title == name), None)


def check_file(path: Path) -> None:
    """Raises `ConfigError` that says why a file is no whole model. Blocks on the disk."""
    file = _gguf.read(path)
    if file.kind != "model" or file.architecture == "clip":
        raise ConfigError(f"{path.name} is no model but a part of one", param="path")


async def _known(model: Model) -> Known:
    if model.known is None:
        model.known = await asyncio.to_thread(_llama_facts.read, model.file.path)
    return model.known


async def _elsewhere(shelf: Shelf, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(shelf.asking, work)
