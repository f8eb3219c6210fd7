"""Any server that speaks OpenAI's chat completions: clouds, LLMaaS, vLLM, llama-server."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from penstock.core.cards import ModelCard
from penstock.core.choices import alone
from penstock.core.errors import (
    BindingDownError,
    EngineProtocolError,
    GatewayError,
    InvalidRequestError,
)
from penstock.core.events import Event
from penstock.core.ports import Timeouts
from penstock.core.queries import EmbedAsk, Embedded, TokensAsk
from penstock.core.request import Modality, Request
from penstock.core.secrets import Secret
from penstock.engines import _openai_asks, _openai_models, _raw_body
from penstock.engines._addresses import is_official, unversioned, versioned
from penstock.engines._http import Reply, Upstream
from penstock.engines._openai_wire import Chunks, body
from penstock.engines._reading import Events
from penstock.wire import json
from penstock.wire.sse import ServerSentEvent

Extra = Literal["top_k", "min_p", "repeat_penalty", "repetition_penalty", "repeat_last_n", "suffix"]

_CARDS_SECONDS: Final = 30.0
_DONE: Final = b"[DONE]"
_EFFORT_FIELDS: Final = ("reasoning_effort", "chat_template_kwargs", "enable_thinking")


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[bindings.NAME]` with `engine = "openai"`."""

    url: Annotated[
        str, Meta(description="Address of the server, with or without `/v1` at its end.")
    ] = "https://api.openai.com/v1"
    key: Annotated[Secret | None, Meta(description='Its API key: text, or `{ env = "NAME" }`.')] = (
        None
    )
    model: Annotated[
        str | None, Meta(description="Its model that answers when a request names none.")
    ] = None
    headers: Annotated[
        dict[str, Secret], Meta(description="Further headers of every request; never shown.")
    ] = {}
    think_tags: Annotated[
        bool, Meta(description="Take `<think>…</think>` at the start of an answer for reasoning.")
    ] = True
    echo_reasoning: (
        Annotated[
            bool,
            Meta(
                description="Send the reasoning of earlier turns back, as `reasoning_content`. By "
                "default to every server but api.openai.com, which has no such field."
            ),
        ]
        | None
    ) = None
    extra_parameters: Annotated[
        tuple[Extra, ...],
        Meta(
            description="Parameters that this server takes beyond OpenAI's own. For "
            "`repeat_penalty` vLLM's name is `repetition_penalty`. `suffix` (of raw completions) "
            "is OpenAI's own, but most other servers drop it without a word."
        ),
    ] = ()
    max_tokens_field: Annotated[
        Literal["max_tokens", "max_completion_tokens"] | None,
        Meta(
            description="What the limit of the answer is called; by default "
            "`max_completion_tokens` at api.openai.com, `max_tokens` elsewhere."
        ),
    ] = None
    effort_field: Annotated[
        Literal["reasoning_effort", "chat_template_kwargs"],
        Meta(
            description="How much to think is said in OpenAI's field, or as vLLM, SGLang and "
            "llama-server have it: to the model's template, as `enable_thinking`."
        ),
    ] = "reasoning_effort"
    verify_tls: Annotated[bool, Meta(description="Check the server's certificate.")] = True


SUPPORTS: Final = frozenset(
    {
        "temperature",
        "top_p",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reply_format",
        "effort",
        "choices",
        "images",
        "raw",
    }
)
"""What the API itself has; `extra_parameters` adds to it."""


class Engine:
    """One OpenAI-compatible server."""

    description: ClassVar[str] = "Any server with OpenAI's chat completions API"
    outputs: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, config: Config, timeouts: Timeouts) -> None:
        self._config = config
        self._upstream = Upstream(
            versioned(config.url),
            timeouts,
            key=config.key,
            headers=config.headers,
            verify_tls=config.verify_tls,
        )
        # The tokenizer's routes stand beside the API, not in it.
        self._root = Upstream(
            unversioned(config.url),
            timeouts,
            key=config.key,
            headers=config.headers,
            verify_tls=config.verify_tls,
        )
        self._renamed = _renamed(config)
        echo, official = config.echo_reasoning, is_official(config.url)
        self._echo_reasoning = not official if echo is None else echo
        own = {"suffix"} if official else set[str]()
        self._supports = SUPPORTS | own | frozenset(map(_ours, config.extra_parameters))
        self._cards: tuple[float, Sequence[ModelCard]] | None = None
        self._unthinking: set[str] = set()

    @property
    def supports(self) -> frozenset[str]:
        """What the API has, and the extra parameters that the configuration names."""
        return self._supports

    async def start(self) -> None:
        """Asks for the models once, within `connect` seconds."""
        await self.models()

    async def stream(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        """Runs `request`; see `core.ports.Engine`."""
        think_tags = self._config.think_tags and not request.raw
        chunks = Chunks(request.choices, think_tags=think_tags, mask=self._upstream.masked)
        asked = request
        while True:
            async with (self._hinted if request.effort_hint else self._posted)(asked) as reply:
                if "html" in reply.media_type:
                    raise EngineProtocolError(
                        "the upstream answered with a web page, is `url` right?"
                    )
                yield ()
                data = await _beginning(reply)
                if data.startswith(b"{"):
                    yield chunks.whole(data + await reply.whole())
                    data = b""
                events = Events()
                while data:
                    batch = _heard(events.feed(data), chunks)
                    reply.finished = chunks.over
                    if batch:
                        yield batch
                    data = b"" if chunks.over else await _next(reply, chunks)
                if not chunks.over:
                    yield _heard(events.end(), chunks) + chunks.end()
            if chunks.ended:
                return
            # It takes `n` and does not heed it: from now on each choice is a request.
            self._supports -= {"choices"}
            asked = alone(request, chunks.next_choice())

    def _posted(self, request: Request) -> AbstractAsyncContextManager[Reply]:
        sent = json.encode(self._raw(request) if request.raw else self._body(request))
        path = "completions" if request.raw else "chat/completions"
        return self._upstream.post(path, sent, "text/event-stream")

    @asynccontextmanager
    async def _hinted(self, request: Request) -> AsyncIterator[Reply]:
        """Asked again without the effort, which is only a hint, by a model that refuses the field:
        those of clouds do that think about nothing.
        """
        unhinted = replace(request, effort=None, effort_hint="")
        model = self._named(request.model)
        async with AsyncExitStack() as stack:
            try:
                first = unhinted if model in self._unthinking else request
                reply = await stack.enter_async_context(self._posted(first))
            except InvalidRequestError as error:
                if not any(name in f"{error.param} {error.message}" for name in _EFFORT_FIELDS):
                    raise
                self._unthinking.add(model)
                reply = await stack.enter_async_context(self._posted(unhinted))
            yield reply

    async def models(self) -> Sequence[ModelCard]:
        """What `/models` lists, asked anew after half a minute. Raises `BindingDownError`."""
        if self._cards is not None and monotonic() < self._cards[0]:
            return self._cards[1]
        try:
            cards = self._listed(await self._upstream.get("models"))
        except GatewayError as error:
            raise BindingDownError(error.message) from error
        self._cards = (monotonic() + _CARDS_SECONDS, cards)
        return cards

    async def tokenize(self, ask: TokensAsk) -> Sequence[int]:
        """By llama-server or vLLM; raises `ModalityError` at servers that have no such route."""
        return await _openai_asks.tokenize(self._root, self._named(ask.model), ask)

    async def detokenize(self, ask: TokensAsk) -> str:
        """The same, back to text."""
        return await _openai_asks.detokenize(self._root, self._named(ask.model), ask)

    async def embed(self, ask: EmbedAsk) -> Embedded:
        """`POST /embeddings`. A text that is too long is the server's to refuse, or to cut."""
        return await _openai_asks.embed(self._upstream, self._named(ask.model), ask)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._upstream.aclose()
        await self._root.aclose()

    def _named(self, model: str) -> str:
        return model or self._config.model or ""

    def _listed(self, data: bytes | None) -> Sequence[ModelCard]:
        if data is not None:
            return _openai_models.cards(data)
        # Some servers have no list; what is configured can still be asked.
        if self._config.model is None:
            raise BindingDownError(
                f"{self._upstream.address} has no list of models: is `url` right? If it is, name a "
                "`model`"
            )
        return (ModelCard(name=self._config.model),)

    def _body(self, request: Request) -> dict[str, object]:
        if not self._echo_reasoning:
            messages = tuple(replace(m, reasoning=None) for m in request.messages)
            request = replace(request, messages=messages)
        found = body(request)
        found["model"] = self._named(request.model)
        if request.effort is not None and self._config.effort_field == "chat_template_kwargs":
            found["chat_template_kwargs"] = {"enable_thinking": request.effort != "none"}
            if found.pop("reasoning_effort") != "none":
                found["reasoning_effort"] = request.effort
        for ours, theirs in self._renamed.items():
            if ours in found:
                found[theirs] = found.pop(ours)
        return found

    def _raw(self, request: Request) -> dict[str, object]:
        found = _raw_body.body(request)
        found["model"] = self._named(request.model)
        for ours, theirs in self._renamed.items():
            # Only chat's limit has another name.
            if ours in found and ours != "max_tokens":
                found[theirs] = found.pop(ours)
        return found


def _renamed(config: Config) -> dict[str, str]:
    """Our names of fields that this server calls otherwise."""
    default = "max_completion_tokens" if is_official(config.url) else "max_tokens"
    found = {"max_tokens": config.max_tokens_field or default}
    return found | {_ours(name): name for name in config.extra_parameters}


def _ours(name: str) -> str:
    return "repeat_penalty" if name == "repetition_penalty" else name


async def _beginning(reply: Reply) -> bytes:
    """The first bytes after white space: `{` says that the answer came whole.

    What a server declares as its type is not reliable in either direction.
    """
    while data := await reply.read():
        begun = data.lstrip(b" \t\r\n")
        if begun:
            return begun
    return b""


async def _next(reply: Reply, chunks: Chunks) -> bytes:
    try:
        return await reply.read()
    except GatewayError:
        # A connection that breaks after the last word broke nothing.
        if chunks.complete:
            return b""
        raise


def _heard(events: Sequence[ServerSentEvent], chunks: Chunks) -> list[Event]:
    found: list[Event] = []
    for event in events:
        if event.data.startswith(_DONE):
            found += chunks.end()
        elif event.event == "error":
            found += chunks.error(event.data)
        else:
            found += chunks.feed(event.data)
    return found
