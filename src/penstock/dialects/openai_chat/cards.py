"""Models as OpenAI's listing shows them, with the fields that LLMaaS adds."""

import msgspec

from penstock.core.cards import ModelCard
from penstock.core.errors import UnknownModelError
from penstock.core.queries import Found
from penstock.wire import json


class Capabilities(msgspec.Struct, frozen=True):
    """`multimodal`: more than text goes in."""

    multimodal: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Model(msgspec.Struct, frozen=True):
    """`owned_by` is the binding, `root` the model that an alias stands for."""

    id: str
    object: str
    created: int
    owned_by: str
    root: str
    aliases: tuple[str, ...]
    max_model_len: int | None
    capabilities: Capabilities


class ModelList(msgspec.Struct, frozen=True):
    """The answer of `GET /v1/models`."""

    data: tuple[Model, ...]
    object: str = "list"


def listing(found: Found) -> bytes:
    """Every model once: where two bindings have one of the same name, the first."""
    first: dict[str, ModelCard] = {}
    for card in found.models:
        first.setdefault(card.name, card)
    return json.encode(ModelList(tuple(_model(card, found) for card in first.values())))


def one(found: Found) -> bytes:
    """The model that was asked for. Raises `UnknownModelError`."""
    for card in found.models:
        if card.name == found.query.name:
            return json.encode(_model(card, found))
    raise UnknownModelError(f"no model is named {found.query.name!r}", param="model")


def _model(card: ModelCard, found: Found) -> Model:
    aliases = [
        other.name
        for other in found.models
        if other.alias_of == card.name and other.binding == card.binding
    ]
    return Model(
        id=card.name,
        object="model",
        created=found.now if card.modified is None else card.modified,
        owned_by=card.binding,
        root=card.alias_of or card.name,
        aliases=tuple(aliases),
        max_model_len=card.context_size,
        capabilities=Capabilities(card.inputs != ("text",), card.inputs, card.outputs),
    )
