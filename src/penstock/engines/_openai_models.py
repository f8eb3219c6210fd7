"""The list of models of an OpenAI-compatible server, with what some servers add to it."""

import msgspec

from penstock.core.cards import ModelCard, known_time
from penstock.core.errors import EngineProtocolError
from penstock.core.request import Modality
from penstock.wire import json


class _Capabilities(msgspec.Struct, frozen=True):
    multimodal: bool | None = None


class _Architecture(msgspec.Struct, frozen=True):
    input_modalities: list[str] | None = None


class _Meta(msgspec.Struct, frozen=True):
    n_ctx: int | None = None
    n_ctx_train: int | None = None
    size: int | None = None


class _Model(msgspec.Struct, frozen=True):
    id: str
    created: float | None = None
    aliases: list[str] | None = None
    max_model_len: int | None = None
    context_length: int | None = None
    context_window: int | None = None
    capabilities: _Capabilities | list[str] | None = None
    architecture: _Architecture | None = None
    meta: _Meta | None = None


class _List(msgspec.Struct, frozen=True):
    data: list[_Model] | None = None


def cards(data: bytes) -> tuple[ModelCard, ...]:
    """One card a model, and one for each alias that the server lists (Cloud Temple's LLMaaS does).

    The context is `max_model_len` at vLLM, `context_length` at OpenRouter, `context_window` at
    Groq, `meta` at llama-server. Raises `EngineProtocolError`.
    """
    value = json.decode(data, object, EngineProtocolError)
    # Together sends the bare array.
    told = {"data": value} if isinstance(value, list) else value
    models = json.convert(told, _List, EngineProtocolError).data or []
    return tuple(card for model in models for card in _cards(model))


def _cards(model: _Model) -> list[ModelCard]:
    meta = model.meta or _Meta()
    card = ModelCard(
        name=model.id,
        modified=known_time(model.created or 0),
        size=meta.size,
        context_size=model.max_model_len
        or model.context_length
        or model.context_window
        or meta.n_ctx
        or meta.n_ctx_train,
        inputs=_inputs(model),
    )
    aliases = [alias for alias in model.aliases or () if alias != model.id]
    return [card, *(msgspec.structs.replace(card, name=a, alias_of=model.id) for a in aliases)]


def _inputs(model: _Model) -> tuple[Modality, ...]:
    told = model.capabilities
    names = set((model.architecture or _Architecture()).input_modalities or ())
    names.update(told if isinstance(told, list) else ())
    seeing = bool(names & {"image", "vision", "multimodal"})
    if isinstance(told, _Capabilities) and told.multimodal:
        seeing = True
    return ("text", "image") if seeing else ("text",)
