"""How many tokens a conversation takes, and how many there are.

By the engine's own tokenizer where it has one. Else a text counts as many tokens as it has bytes in
UTF-8: a token of a byte-level vocabulary is one byte at least, so the sum is never too small. How
far it is above the truth stands in `docs/sessions.md`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from penstock.core.errors import GatewayError
from penstock.core.messages import Message
from penstock.core.ports import Tokenizer
from penstock.core.queries import TokensAsk
from penstock.core.request import ToolSpec
from penstock.gateway.bindings import Bindings
from penstock.gateway.routing import Target
from penstock.wire import json

PER_MESSAGE: Final = 8
"""Tokens that a chat template puts around a message: Llama 3 and ChatML take five."""
PER_PROMPT: Final = 16
PER_TOOLS: Final = 256
"""Tokens of the words by which a template explains tools, besides their schemas."""
_REMEMBERED: Final = 20_000
_TOKENIZER_SECONDS: Final = 5.0


class Room(NamedTuple):
    """A model's context in tokens; not `known`: the configured default stands for it."""

    tokens: int
    known: bool


class Count(NamedTuple):
    """Tokens; not `exact`: an upper bound."""

    tokens: int
    exact: bool


class Budgets:
    """Counts, and remembers what it has counted."""

    def __init__(self, bindings: Bindings, default_context: int) -> None:
        self._bindings = bindings
        self._default_context = default_context
        self._counts: OrderedDict[tuple[Target, str], int] = OrderedDict()

    def room(self, target: Target) -> Room:
        """What the engine says of the model, else `[defaults] default_context_size`."""
        for binding in self._bindings.visible:
            for card in binding.models:
                named = (binding.name, card.name) == tuple(target)
                if named and card.context_size:
                    return Room(card.context_size, known=True)
        return Room(self._default_context, known=False)

    async def count(
        self, target: Target, messages: Sequence[Message], key: str | None = None
    ) -> Count:
        """Tokens of messages with their template's marks. `key` names messages that never change,
        whatever model counts them.
        """
        text = "\n".join(_text(message) for message in messages)
        counted = await self._tokens(target, text, key or _digest(text))
        return Count(counted.tokens + PER_MESSAGE * len(messages), counted.exact)

    async def count_tools(self, target: Target, tools: Sequence[ToolSpec]) -> Count:
        """Tokens that a template makes of tools."""
        if not tools:
            return Count(0, exact=True)
        text = json.encode(tools).decode()
        counted = await self._tokens(target, text, _digest(text))
        return Count(counted.tokens + PER_TOOLS, counted.exact)

    async def _tokens(self, target: Target, text: str, key: str) -> Count:
        known = self._counts.get((target, key))
        if known is None:
            known = await self._asked(target, text)
            if known is None:
                return Count(estimate(text), exact=False)
            self._counts[target, key] = known
            if len(self._counts) > _REMEMBERED:
                self._counts.popitem(last=False)
        else:
            self._counts.move_to_end((target, key))
        return Count(known, exact=True)

    async def _asked(self, target: Target, text: str) -> int | None:
        """By the engine's tokenizer, if it has one that answers soon."""
        if not text:
            return 0
        try:
            async with asyncio.timeout(_TOKENIZER_SECONDS):
                engine = await self._bindings.ready(target.binding)
                if not isinstance(engine, Tokenizer):
                    return None
                return len(await engine.tokenize(TokensAsk(model=target.model, text=text)))
        except (GatewayError, TimeoutError):
            return None


def estimate(text: str) -> int:
    """An upper bound of the tokens of a text."""
    return len(text.encode("utf-8", "surrogatepass"))


def _text(message: Message) -> str:
    calls = [f"{call.id}\n{call.name}\n{call.arguments}" for call in message.tool_calls]
    return "\n".join([message.text, *calls, message.tool_call_id or ""])


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
