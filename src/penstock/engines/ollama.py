"""Ollama, over its native API."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from penstock.core.cards import ModelCard
from penstock.core.errors import (
    BindingDownError,
    EngineProtocolError,
    GatewayError,
    InvalidRequestError,
    ModalityError,
    UnknownModelError,
)
from penstock.core.events import Event
from penstock.core.ports import Timeouts
from penstock.core.queries import EmbedAsk, Embedded, LoadedModel, ModelDetails
from penstock.core.request import Modality, Request
from penstock.core.secrets import Secret
from penstock.engines._http import Upstream
from penstock.engines._ollama_body import body, raw
from penstock.engines._ollama_models import cards, details, running, vectors
from penstock.engines._ollama_wire import Lines
from penstock.engines._reading import JsonLines
from penstock.wire import json


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[bindings.NAME]` with `engine = "ollama"`."""

    url: Annotated[str, Meta(description="Address of the Ollama server.")] = (
        "http://127.0.0.1:11434"
    )
    key: Annotated[
        Secret | None,
        Meta(description='Key of ollama.com or of a proxy: text, or `{ env = "NAME" }`.'),
    ] = None
    model: Annotated[
        str | None, Meta(description="Its model that answers when a request names none.")
    ] = None
    headers: Annotated[
        dict[str, Secret], Meta(description="Further headers of every request; never shown.")
    ] = {}
    context_size: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Context in tokens (`num_ctx`); Ollama's own if unset."),
    ] = None
    keep_alive: Annotated[
        str | None,
        Meta(description="How long a model stays loaded, such as `10m`; Ollama's own if unset."),
    ] = None
    think_tags: Annotated[
        bool, Meta(description="Take `<think>…</think>` at the start of an answer for reasoning.")
    ] = True
    verify_tls: Annotated[bool, Meta(description="Check the server's certificate.")] = True
    refuse_penstock: Annotated[
        bool,
        Meta(
            description="Stay down when the server at `url` is a Penstock. The binding that looks "
            "for an Ollama by itself does, so that a gateway on Ollama's port never asks itself."
        ),
    ] = False


class _Version(msgspec.Struct, frozen=True):
    """`GET /api/version`; Penstock's own answer names itself too."""

    penstock: str = ""


class Engine:
    """One Ollama server."""

    description: ClassVar[str] = "An Ollama server"
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
            "tools",
            "tool_choice",
            "reply_format",
            "effort",
            "images",
            "raw",
            "suffix",
        }
    )
    outputs: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, config: Config, timeouts: Timeouts) -> None:
        self._config = config
        self._upstream = Upstream(
            config.url.rstrip("/").removesuffix("/api"),
            timeouts,
            key=config.key,
            headers=config.headers,
            verify_tls=config.verify_tls,
        )

    async def start(self) -> None:
        """Asks for the models once, within `connect` seconds. Raises `BindingDownError`."""
        if self._config.refuse_penstock and await self._is_penstock():
            raise BindingDownError(f"{self._upstream.address} is a Penstock, not an Ollama server")
        await self.models()

    async def _is_penstock(self) -> bool:
        try:
            data = await self._upstream.get("api/version")
            return data is not None and bool(json.decode(data, _Version, GatewayError).penstock)
        except GatewayError:
            return False  # Whatever it is, asking for its models says it better.

    async def stream(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        """Runs `request`; see `core.ports.Engine`."""
        config, upstream = self._config, self._upstream
        sent = json.encode(self._body(request))
        said = Lines(think_tags=config.think_tags and not request.raw, mask=upstream.masked)
        path = "api/generate" if request.raw else "api/chat"
        async with upstream.post(path, sent, "application/x-ndjson") as reply:
            if "html" in reply.media_type:
                raise EngineProtocolError("the upstream answered with a web page, is `url` right?")
            yield ()
            lines = JsonLines()
            while data := await reply.read():
                batch = [event for line in lines.feed(data) for event in said.feed(line)]
                reply.finished = said.ended
                if batch:
                    yield batch
                if said.ended:
                    return
            yield [event for line in lines.end() for event in said.feed(line)] + said.end()

    async def models(self) -> Sequence[ModelCard]:
        """What `/api/tags` lists. Raises `BindingDownError`."""
        try:
            data = await self._upstream.get("api/tags")
            if data is None:
                address = self._upstream.address
                raise BindingDownError(f"{address} is no Ollama server, is `url` right?")
            return cards(data)
        except GatewayError as error:
            raise BindingDownError(error.message) from error

    async def embed(self, ask: EmbedAsk) -> Embedded:
        """`POST /api/embed`. Raises `ModalityError` at a server that has no such route."""
        config = self._config
        if not ask.texts:
            return Embedded(vectors=(), input_tokens=0)
        sent: dict[str, object] = {
            "model": self._named(ask.model),
            "input": ask.texts,
            "truncate": ask.truncate,
        }
        if ask.dimensions is not None:
            sent["dimensions"] = ask.dimensions
        if config.context_size is not None:
            sent["options"] = {"num_ctx": config.context_size}
        if config.keep_alive is not None:
            sent["keep_alive"] = config.keep_alive
        try:
            data = await self._upstream.ask("api/embed", json.encode(sent))
        except InvalidRequestError as error:
            raise type(error)(error.message, param=error.param or ask.param) from error
        if data is None:
            raise ModalityError("this server makes no embeddings")
        return vectors(data, len(ask.texts))

    async def describe(self, model: str) -> ModelDetails:
        """What `/api/show` says. Raises `UnknownModelError`."""
        name = self._named(model)
        data = await self._upstream.ask("api/show", json.encode({"model": name}))
        if data is None:
            raise UnknownModelError(f"the upstream has no model {name!r}", param="model")
        return details(name, data)

    async def loaded(self) -> Sequence[LoadedModel]:
        """What `/api/ps` lists; nothing at a server that has no such list."""
        data = await self._upstream.get("api/ps")
        return running(data) if data is not None else ()

    async def load(self, model: str) -> None:
        """A chat without messages, as Ollama has it."""
        keep = self._config.keep_alive
        await self._keep(model, {} if keep is None else {"keep_alive": keep})

    async def unload(self, model: str) -> None:
        """The same, to be kept for no time."""
        await self._keep(model, {"keep_alive": 0})

    async def _keep(self, model: str, more: dict[str, object]) -> None:
        name = self._named(model)
        sent = {"model": name, "messages": [], "stream": False, **more}
        if await self._upstream.ask("api/chat", json.encode(sent)) is None:
            raise UnknownModelError(f"the upstream has no model {name!r}", param="model")

    def _named(self, model: str) -> str:
        return model or self._config.model or ""

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._upstream.aclose()

    def _body(self, request: Request) -> dict[str, object]:
        config = self._config
        make = raw if request.raw else body
        found = make(request, config.context_size)
        found["model"] = self._named(request.model)
        if config.keep_alive is not None:
            found["keep_alive"] = config.keep_alive
        return found
