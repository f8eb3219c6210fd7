"""OpenAI's embeddings: `/v1/embeddings`."""

import base64
import struct
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta, Raw

from penstock.core import ports
from penstock.core.description import Description
from penstock.core.errors import (
    GatewayError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
)
from penstock.core.folding import Reply
from penstock.core.ports import Answer, Call, Opening, Route
from penstock.core.queries import EmbedAsk, Found, Query
from penstock.core.request import Request
from penstock.dialects import _openai_description, _openai_parse, _openai_shapes, _tools
from penstock.dialects._openai_errors import error_answer
from penstock.dialects._openai_fields import EMBEDDINGS, ignored, model_name
from penstock.wire import json

__all__ = ["Body", "Dialect"]

_BASE64: Final = "base64"
_MOST_TEXTS: Final = 2048
"""OpenAI's own limit."""


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /v1/embeddings`. What stands under each name: `_openai_fields`."""

    input: _openai_shapes.Texts
    model: str | None = None
    dimensions: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: Raw = msgspec.field(default_factory=_tools.null)


class Embedding(msgspec.Struct, frozen=True):
    """One text's vector: numbers, or the base64 of little-endian 32-bit floats."""

    object: str
    embedding: tuple[float, ...] | str
    index: int


class Usage(msgspec.Struct, frozen=True):
    """All that was read; nothing was said."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(msgspec.Struct, frozen=True):
    """The answer, in the order of the texts."""

    object: str
    data: tuple[Embedding, ...]
    model: str
    usage: Usage


class Dialect:
    """OpenAI's embeddings. It has questions only, no streams."""

    name: ClassVar[str] = "openai_embeddings"
    prefixes: ClassVar[tuple[str, ...]] = ("/v1/embeddings",)
    routes: ClassVar[tuple[Route, ...]] = (Route("POST", "/v1/embeddings", "embed"),)
    description: ClassVar[Description] = _openai_description.embeddings(Body, Embeddings)
    credentials: ClassVar[tuple[str, ...]] = ("authorization", "api-key", "x-api-key")

    def parse(self, call: Call) -> Query:
        """The texts to embed. Raises `InvalidRequestError`."""
        body = json.decode(call.body, Body, InvalidRequestError)
        ask = EmbedAsk(
            model=model_name(body.model),
            texts=_texts(body.input),
            dimensions=body.dimensions,
        )
        form = body.encoding_format or "float"
        return Query("embed", ask=ask, form=form, ignored=ignored(body, EMBEDDINGS))

    def answer(self, found: Found) -> Answer:
        """The vectors; `model` is the name that was asked for, else the one that answers."""
        query, embedded = found.query, found.embedded
        if embedded is None or not isinstance(query.ask, EmbedAsk):
            return self.error(InternalError("there are no vectors"))
        data = [
            Embedding("embedding", _base64(vector) if query.form == _BASE64 else vector, n)
            for n, vector in enumerate(embedded.vectors)
        ]
        usage = Usage(embedded.input_tokens, embedded.input_tokens)
        answer = Embeddings("list", tuple(data), query.ask.model or embedded.model, usage)
        return Answer(200, json.encode(answer))

    def error(self, error: GatewayError) -> Answer:
        """OpenAI's error object, with the status of the error's class."""
        return error_answer(error)

    def opening(self, request: Request) -> Opening:
        """No stream can be told as embeddings. Raises `NotFoundError`."""
        raise NotFoundError("a stream can't be told as embeddings")

    def encoder(self, request: Request) -> ports.Encoder:
        """No stream can be told as embeddings. Raises `NotFoundError`."""
        raise NotFoundError("a stream can't be told as embeddings")

    def whole(self, request: Request, reply: Reply) -> Answer:
        """No stream can be told as embeddings. Raises `NotFoundError`."""
        raise NotFoundError("a stream can't be told as embeddings")


def _texts(asked: _openai_shapes.Texts) -> tuple[str, ...]:
    texts = (asked,) if isinstance(asked, str) else _openai_parse.texts(asked, "input")
    if len(texts) > _MOST_TEXTS:
        raise InvalidRequestError(
            f"input: {len(texts)} texts, {_MOST_TEXTS} at most at once", param="input"
        )
    for n, text in enumerate(texts):
        if not text:
            at = "input" if isinstance(asked, str) else f"input[{n}]"
            raise InvalidRequestError(f"{at} must not be empty", param=at)
    return texts


def _base64(vector: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
