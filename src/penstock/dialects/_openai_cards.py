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


class Permission(msgspec.Struct, frozen=True):
    """What one's key may do with the model: everything that there is but training."""

    id: str
    created: int
    object: str = "model_permission"
    allow_sampling: bool = True
    allow_view: bool = True
    allow_fine_tuning: bool = False


class Model(msgspec.Struct, frozen=True):
    """`owned_by` is the binding, `root` the model that an alias stands for."""

    id: str
    object: str
    created: int
    owned_by: str
    root: str
    aliases: tuple[str, ...]
    max_model_len: int | None
    permission: tuple[Permission, ...]
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
    """The model that was asked for: the first of those found, its aliases come after it.

    Raises `UnknownModelError`.
    """
    if not found.models:
        raise UnknownModelError(f"no model is named {found.query.name!r}", param="model")
    return json.encode(_model(found.models[0], found))


def _model(card: ModelCard, found: Found) -> Model:
    aliases = [
        other.name
        for other in found.models
        if other.alias_of == card.name and other.binding == card.binding
    ]
    created = found.now if card.modified is None else card.modified
    return Model(
        id=card.name,
        object="model",
        created=created,
        owned_by=card.binding,
        root=card.alias_of or card.name,
        aliases=tuple(aliases),
        max_model_len=card.context_size,
        permission=(Permission(f"modelperm-{card.name}-{created}", created),),
        capabilities=Capabilities(card.inputs != ("text",), card.inputs, card.outputs),
    )
