"""What is asked of an OpenAI-compatible server besides a stream: vectors, and tokens where it can.

Vectors are OpenAI's `POST /v1/embeddings`. Its API has no tokenizer; llama-server and vLLM have
`POST /tokenize` and `POST /detokenize` at their root, with other names for the same: both are sent.
"""

import base64
import binascii
import struct

import msgspec

from penstock.core.errors import (
    EngineError,
    EngineProtocolError,
    InvalidRequestError,
    ModalityError,
    UnsupportedParameterError,
)
from penstock.core.queries import EmbedAsk, Embedded, TokensAsk
from penstock.engines._http import Upstream
from penstock.wire import json


class _Vector(msgspec.Struct, frozen=True):
    embedding: list[float] | str
    index: int | None = None


class _Counts(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None


class _Vectors(msgspec.Struct, frozen=True):
    data: list[_Vector]
    usage: _Counts | None = None


class _Tokens(msgspec.Struct, frozen=True):
    tokens: list[int]


class _Text(msgspec.Struct, frozen=True):
    content: str | None = None
    prompt: str | None = None


async def embed(upstream: Upstream, model: str, ask: EmbedAsk) -> Embedded:
    """Raises `ModalityError` when this server makes no vectors."""
    if not ask.texts:
        return Embedded(vectors=(), input_tokens=0)
    sent: dict[str, object] = {"model": model, "input": ask.texts, "encoding_format": "float"}
    if ask.dimensions is not None:
        sent["dimensions"] = ask.dimensions
    try:
        data = await upstream.ask("embeddings", json.encode(sent))
    except InvalidRequestError as error:
        raise type(error)(error.message, param=error.param or ask.param) from error
    if data is None:
        raise ModalityError("this server makes no embeddings")
    answer = json.decode(data, _Vectors, EngineProtocolError)
    if len(answer.data) != len(ask.texts):
        raise EngineProtocolError(
            f"the upstream sent {len(answer.data)} vectors for {len(ask.texts)} texts"
        )
    # A list without numbers is in the order of the texts.
    ordered = sorted(enumerate(answer.data), key=lambda one: one[1].index or 0)
    counts = answer.usage or _Counts()
    return Embedded(
        vectors=tuple(_numbers(vector.embedding) for _, vector in ordered),
        input_tokens=counts.prompt_tokens or 0,
    )


def _numbers(told: list[float] | str) -> tuple[float, ...]:
    """Some servers send base64 of little-endian 32-bit floats, asked for or not."""
    if not isinstance(told, str):
        return tuple(told)
    try:
        data = base64.b64decode(told, validate=True)
        return struct.unpack(f"<{len(data) // 4}f", data)
    except (binascii.Error, struct.error) as error:
        raise EngineProtocolError("the upstream sent a vector that makes no sense") from error


async def tokenize(root: Upstream, model: str, ask: TokensAsk) -> list[int]:
    """Raises `ModalityError` when this server has no tokenizer.

    `add_bos` asks for whatever the model wants around a text: these servers can't tell the two
    ends apart, so `add_eos` alone is refused.
    """
    if ask.add_eos:
        raise UnsupportedParameterError(
            "this server can't add the end of a text to its tokens", param="add_eos"
        )
    sent = {
        "model": model,
        "content": ask.text,
        "prompt": ask.text,
        "add_special": ask.add_bos,
        "add_special_tokens": ask.add_bos,
    }
    data = await _ask(root, "tokenize", sent)
    return json.decode(data, _Tokens, EngineProtocolError).tokens


async def detokenize(root: Upstream, model: str, ask: TokensAsk) -> str:
    """The same, back to text. Raises `InvalidRequestError` for ids that there are not."""
    if any(token < 0 for token in ask.tokens):
        raise InvalidRequestError("no token has a negative id", param="tokens")
    try:
        data = await _ask(root, "detokenize", {"model": model, "tokens": ask.tokens})
    except InvalidRequestError as error:
        raise InvalidRequestError(error.message, param=error.param or "tokens") from error
    except EngineError as error:
        # llama-server answers 500 and names the check of its vector.
        if "range" in error.message:
            raise InvalidRequestError("one is no token of this model", param="tokens") from error
        raise
    found = json.decode(data, _Text, EngineProtocolError)
    if found.content is None and found.prompt is None:
        raise EngineProtocolError("the upstream sent no text for the tokens")
    return found.content if found.content is not None else found.prompt or ""


async def _ask(root: Upstream, path: str, sent: dict[str, object]) -> bytes:
    data = await root.ask(path, json.encode(sent))
    if data is None:
        raise ModalityError("this server has no tokenizer")
    return data
