"""GGUF models in this process, by llama.cpp. With nothing configured: the demo model."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import ExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from penstock.core.cards import ModelCard
from penstock.core.errors import (
    ConfigError,
    EngineError,
    GatewayError,
    InvalidRequestError,
    UnavailableError,
    UnknownModelError,
)
from penstock.core.events import Event, Progress
from penstock.core.ports import Timeouts
from penstock.core.request import Modality, Request
from penstock.engines import _llama_body, _llama_files
from penstock.engines._gguf import ModelFile
from penstock.engines._llama_server import Settings, context_of
from penstock.engines._llama_shelf import Model, Shelf
from penstock.engines._openai_wire import Chunks
from penstock.engines._slots import Ticket
from penstock.engines._threads import Feed
from penstock.wire import json

_DEMO: Final = Path(__file__).parent.parent / "models" / "penstock-demo.gguf"
_ERROR: Final = b'{"error"'


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[bindings.NAME]` with `engine = "llamacpp"`."""

    path: Annotated[
        str | None,
        Meta(description="A GGUF file, or a folder of them. Default: the demo model."),
    ] = None
    model: Annotated[
        str | None,
        Meta(
            description="The model that answers when a request names none: a file's name without "
            "`.gguf`. Default: the first by name."
        ),
    ] = None
    context: Annotated[
        Annotated[int, Meta(ge=64)] | None,
        Meta(
            description="Context of one conversation in tokens. Default: the model's own, 4096 "
            "at most. Memory is taken for `parallel` times as many.",
        ),
    ] = None
    parallel: Annotated[
        int, Meta(ge=1, le=256, description="Runs that decode at the same time; others wait.")
    ] = 4
    max_queue: Annotated[
        int, Meta(ge=0, description="Runs that may wait for a model; more get 429.")
    ] = 64
    threads: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Threads that compute. Default: as llama.cpp chooses; one for models "
            "under 100 MB.",
        ),
    ] = None
    gpu_layers: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="Layers to put on a GPU, where xllamacpp was built for one. Default: as "
            "many as fit.",
        ),
    ] = None
    prompt_cache_mib: Annotated[
        int,
        Meta(
            ge=0,
            description="Main memory, in MiB, for prompts of earlier turns, so that a conversation "
            "which comes back needn't be read anew.",
        ),
    ] = 256
    load: Annotated[
        Literal["start", "first_use"],
        Meta(description="When the default model is loaded. The others are on first use."),
    ] = "start"
    max_loaded: Annotated[
        int,
        Meta(
            ge=1,
            description="Models of a folder that stay loaded; the one unused for longest goes, "
            "once it is idle.",
        ),
    ] = 1


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

    async def start(self) -> None:
        """Looks at the files and loads the default model, unless it is to be on first use.

        Raises `ConfigError` whose `param` is the setting that is wrong; whoever asks later is told
        the same.
        """
        async with self._starting:
            if self._shelf is not None:
                return
            config = self._config
            files = await asyncio.to_thread(_files, config.path)
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
        model = self._find(shelf, request.model)
        body = _llama_body.chat(request)
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
            feed = self._begin(shelf, model, body, ticket)
            held.pop_all()
        try:
            async with aclosing(self._events(feed, request)) as batches:
                async for batch in batches:
                    yield batch
        finally:
            feed.cancel()
            self._feeds.discard(feed)

    def _begin(self, shelf: Shelf, model: Model, body: bytes, ticket: Ticket) -> Feed[bytes]:
        """Hands a run in. Its slot is free again when llama.cpp has let go of it, not before."""
        if model.server is None:
            raise UnavailableError("the model was unloaded")
        feed = Feed[bytes](shelf.pool, partial(model.server.chat, body))
        feed.when_over(ticket.leave)
        self._feeds.add(feed)
        return feed

    async def _events(self, feed: Feed[bytes], request: Request) -> AsyncGenerator[list[Event]]:
        chunks = Chunks()
        accepted = False
        feed.allow(self._timeouts.first_token)
        while True:
            batch = await _taken(feed, request)
            if not batch:
                self._check_open()
                yield chunks.end()
                return
            if not accepted and batch[0].startswith(_ERROR):
                raise _refusal(batch[0])
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

    def _find(self, shelf: Shelf, name: str) -> Model:
        name = (name or self._default).removesuffix(".gguf")
        if name in shelf.models:
            return shelf.models[name]
        for model in shelf.models.values():
            if model.file.title == name:
                return model
        raise UnknownModelError(f"there is no model {name!r} here", param="model")

    async def models(self) -> Sequence[ModelCard]:
        """All models of the path, loaded or not, with the context that they have here."""
        return [
            msgspec.structs.replace(
                _llama_files.card(name, model.file),
                context_size=context_of(model.file, self._config.context),
            )
            for name, model in (await self._ready()).models.items()
        ]

    async def aclose(self) -> None:
        """Ends all runs and frees the models. Waits for the batches that are being decoded."""
        self._closed = True
        for feed in self._feeds:
            feed.cancel()
        async with self._starting:
            if self._shelf is not None:
                await self._shelf.aclose()


def _files(path: str | None) -> dict[str, ModelFile]:
    return _llama_files.find(_DEMO if path is None else Path(path).expanduser())


async def _taken(feed: Feed[bytes], request: Request) -> list[bytes]:
    try:
        return await feed.take()
    except ValueError as error:
        raise _invalid(str(error), request) from error
    except RuntimeError as error:
        raise EngineError(f"llama.cpp failed: {error}") from error


class _Error(msgspec.Struct, frozen=True):
    message: str = ""
    type: str = ""


class _Refused(msgspec.Struct, frozen=True):
    error: _Error


def _refusal(data: bytes) -> GatewayError:
    """What stands in place of the first chunk when llama.cpp takes a request back."""
    error = json.decode(data, _Refused, EngineError).error
    match error.type:
        case "exceed_context_size_error":
            return InvalidRequestError(error.message, param="messages")
        case "invalid_request_error":
            return InvalidRequestError(error.message)
        case "unavailable_error":
            return UnavailableError(error.message)
        case _:
            return EngineError(f"llama.cpp failed: {error.message}")


def _invalid(message: str, request: Request) -> InvalidRequestError:
    """A request that llama.cpp finds wrong before it begins; mostly a schema."""
    message = message.rpartition("Automatic parser generation failed: ")[2]
    param: str | None = None
    if "logprobs" in message:
        param = "logprobs"
    elif request.reply_format is not None:
        param = "response_format"
    elif request.tools:
        param = "tools"
    return InvalidRequestError(message, param=param)
