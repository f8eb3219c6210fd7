"""Vectors of texts, by a server in embedding mode. All of it blocks."""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.core.errors import EngineError, InvalidRequestError
from penstock.core.queries import EmbedAsk
from penstock.engines import _llama_tokens
from penstock.engines._llama_server import LlamaServer
from penstock.wire import json

_TOGETHER: Final = 8
"""Texts of one call: between two a run's tokens come through, and a cancelled ask ends."""


class _Vector(msgspec.Struct, frozen=True):
    index: int
    embedding: list[float]


class _Error(msgspec.Struct, frozen=True):
    message: str = ""


class _Answer(msgspec.Struct, frozen=True):
    data: list[_Vector] = []
    error: _Error | None = None


Tokens = list[list[int]]
Vectors = list[tuple[float, ...]]


def tokens(server: LlamaServer, ask: EmbedAsk) -> Tokens:
    """The ids of every text, cut to the context where `truncate` says so.

    Raises `InvalidRequestError` for a text that is empty or too long.
    """
    found: Tokens = []
    for n, text in enumerate(ask.texts):
        ids = _llama_tokens.split(server, text, special=True)
        at = f"{ask.param}[{n}]" if len(ask.texts) > 1 else ask.param
        if not ids:
            raise InvalidRequestError("there is nothing to embed in an empty text", param=at)
        if len(ids) > server.context:
            if not ask.truncate:
                raise InvalidRequestError(
                    f"a text of {len(ids)} tokens is too long: this model takes {server.context}",
                    param=at,
                )
            # What the model wants at the end of every text stays there.
            last = ids[-1:] if _closes(server, ids) else []
            ids = ids[: server.context - len(last)] + last
        found.append(ids)
    return found


def _closes(server: LlamaServer, ids: Sequence[int]) -> bool:
    alone = _llama_tokens.split(server, "", special=True)
    return len(alone) > 1 and alone[-1] == ids[-1]


def groups(ids: Tokens) -> list[Tokens]:
    """So many as one call is to take."""
    return [ids[n : n + _TOGETHER] for n in range(0, len(ids), _TOGETHER)]


def vectors(server: LlamaServer, ids: Tokens) -> Vectors:
    """One vector a text, of length one."""
    data = server.embed(json.encode({"input": ids}))
    answer = json.decode(data, _Answer, EngineError)
    if answer.error is not None or len(answer.data) != len(ids):
        said = answer.error.message if answer.error is not None else "too few vectors"
        raise EngineError(f"llama.cpp failed: {said}")
    return [tuple(one.embedding) for one in sorted(answer.data, key=lambda one: one.index)]


def shortened(found: Vectors, ask: EmbedAsk) -> Vectors:
    """The first `dimensions` of every vector, of length one again.

    As OpenAI's reference has it for its own models; how much meaning is left is up to the model.
    Raises `InvalidRequestError` for more dimensions than there are.
    """
    wanted = ask.dimensions
    if wanted is None or not found:
        return found
    if not 1 <= wanted <= len(found[0]):
        raise InvalidRequestError(
            f"this model's vectors have {len(found[0])} dimensions", param="dimensions"
        )
    return [_unit(vector[:wanted]) for vector in found]


def _unit(vector: tuple[float, ...]) -> tuple[float, ...]:
    length = math.hypot(*vector)
    return tuple([value / length for value in vector]) if length else vector
