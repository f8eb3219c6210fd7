"""The answer of `GET /v1/models` (OpenAI's API reference; `max_model_len` is vLLM's and ours)."""

from collections.abc import Sequence

import msgspec

from penstock.core.cards import ModelCard
from penstock.core.errors import EngineProtocolError
from penstock.wire import json


class _Model(msgspec.Struct):
    id: str
    owned_by: str = ""
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


def models(data: bytes) -> Sequence[ModelCard]:
    """Its models. Raises `EngineProtocolError`."""
    return tuple(
        ModelCard(name=one.id, binding=one.owned_by, context_size=one.max_model_len)
        for one in json.decode(data, _Models, EngineProtocolError).data
    )
