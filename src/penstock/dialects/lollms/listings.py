"""lollms' listings (1.3 and 1.7). None holds a secret or an absolute path of the server."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Final

import msgspec

from penstock.core.cards import BindingCard, ModelCard, Personality
from penstock.core.errors import InternalError
from penstock.core.queries import Found
from penstock.dialects.lollms.questions import ACTIVE
from penstock.wire import json

FOLDERS: Final = (
    "ttt",
    "tti",
    "ttv",
    "ttm",
    "tts",
    "stt",
    "audio2audio",
    "i2i",
    "gguf",
    "diffusers_models",
)
"""The ten kinds of `list_models`, always all."""

DEFAULTS: Final = (
    "ttt_binding",
    "tti_binding",
    "tts_binding",
    "stt_binding",
    "ttv_binding",
    "ttm_binding",
    "default_context_size",
    "default_max_output_tokens",
)
"""The keys of `get_default_bindings`, always all."""


class Health(msgspec.Struct, frozen=True):
    """The answer of `health`."""

    status: str
    version: str
    api_key_required: bool


class BindingType(msgspec.Struct, frozen=True):
    """A *binding type* is an engine."""

    type_name: str
    display_name: str
    version: str
    author: str
    description: str
    requirements: tuple[str, ...]
    supports_streaming: bool
    documentation_url: str
    supported_output_modalities: tuple[str, ...]
    supported_input_modalities: tuple[str, ...]


class BindingInstance(msgspec.Struct, frozen=True, omit_defaults=True):
    """A *binding instance* is a binding."""

    type: str
    binding_instance_name: str
    default_model: str | None
    state: str
    host: str = ""


class Bindings(msgspec.Struct, frozen=True):
    """The answer of `list_bindings`."""

    binding_types: dict[str, BindingType]
    binding_instances: dict[str, BindingInstance]


class Who(msgspec.Struct, frozen=True):
    """A personality."""

    name: str
    author: str
    version: str
    description: str
    category: str
    language: str
    tags: tuple[str, ...]
    icon: str
    is_scripted: bool
    path: str


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model of a binding, with its nulls. `size` in bytes, `modified_at` in ISO 8601."""

    name: str
    size: int | None
    modified_at: str | None
    quantization_level: str | None
    format: str | None
    family: str | None
    families: tuple[str, ...] | None
    parameter_size: str | None
    context_size: int | None
    max_output_tokens: int | None
    template: str | None = None
    license: str | None
    homepage: str | None = None
    supports_vision: bool
    supports_audio: bool
    details: dict[str, str]


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `get_model_info`, as the original means it (1.9), with its nulls."""

    binding_instance_name: str
    model_name: str
    model_type: str | None
    context_size: int | None
    max_output_tokens: int | None
    supports_vision: bool
    supports_audio: bool
    supports_streaming: bool
    details: dict[str, object]


class ActiveBindings(msgspec.Struct, frozen=True):
    """The answer of `list_active_bindings`."""

    bindings: dict[str, BindingInstance]


class Personalities(msgspec.Struct, frozen=True):
    """The answer of `list_personalities`."""

    personalities: dict[str, Who]


class FunctionNames(msgspec.Struct, frozen=True):
    """The answer of `list_functions`."""

    functions: tuple[str, ...]


class ModelFiles(msgspec.Struct, frozen=True):
    """The answer of `list_models`: names by kind."""

    models: dict[str, list[str]]


class BindingModels(msgspec.Struct, frozen=True):
    """The answer of `list_available_models`."""

    binding_instance_name: str
    models: tuple[Model, ...]


class Defaults(msgspec.Struct, frozen=True):
    """The answer of `get_default_bindings`."""

    defaults: dict[str, str | int | None]


class Tokens(msgspec.Struct, frozen=True):
    """The answer of `tokenize`."""

    tokens: tuple[int, ...]
    count: int


class TokenCount(msgspec.Struct, frozen=True):
    """The answer of `count_tokens`."""

    count: int


class Text(msgspec.Struct, frozen=True):
    """The answer of `detokenize`."""

    text: str


def answer(found: Found) -> bytes:
    """The answer of a listing route."""
    match found.query.operation:
        case "health":
            body: object = Health("ok", found.version, found.key_required)
        case "bindings" if found.query.form == ACTIVE:
            body = ActiveBindings({card.name: _instance(card) for card in found.bindings})
        case "bindings":
            body = _bindings(found)
        case "functions":
            body = FunctionNames(tuple(sorted(found.functions)))
        case "tokenize":
            body = Tokens(found.tokens, len(found.tokens))
        case "count_tokens":
            body = TokenCount(len(found.tokens))
        case "detokenize":
            body = Text(found.text)
        case "model_details":
            body = _info(found)
        case "binding_models":
            models = tuple(_model(card) for card in found.models)
            body = BindingModels(found.query.name, models)
        case "personalities":
            body = Personalities({who.name: _who(who) for who in found.personalities})
        case "model_files":
            body = ModelFiles(_folders(found.models))
        case _:
            body = Defaults({key: found.defaults.get(key) for key in DEFAULTS})
    return json.encode(body)


def _bindings(found: Found) -> Bindings:
    engines: dict[str, list[BindingCard]] = {}
    for card in found.bindings:
        engines.setdefault(card.engine, []).append(card)
    return Bindings(
        binding_types={name: _type(found, cards) for name, cards in engines.items()},
        binding_instances={card.name: _instance(card) for card in found.bindings},
    )


def _type(found: Found, cards: Sequence[BindingCard]) -> BindingType:
    return BindingType(
        type_name=cards[0].engine,
        display_name=cards[0].engine,
        version=found.version,
        author="Penstock",
        description=cards[0].description,
        requirements=(),
        supports_streaming=True,
        documentation_url="",
        supported_output_modalities=_all(card.outputs for card in cards),
        supported_input_modalities=_all(card.inputs for card in cards),
    )


def _all(several: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(kind for kinds in several for kind in kinds))


def _instance(card: BindingCard) -> BindingInstance:
    """Without `trouble`: it may name a file of the server."""
    return BindingInstance(card.engine, card.name, card.model, card.state, card.url or "")


def _who(who: Personality) -> Who:
    path = PurePath(who.path)
    return Who(
        name=who.name,
        author=who.author,
        version=who.version,
        description=who.description,
        category=who.category,
        language=who.language,
        tags=who.tags,
        icon=who.icon,
        is_scripted=who.scripted,
        path=path.name if path.is_absolute() else who.path,
    )


def _folders(cards: Sequence[ModelCard]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {name: set() for name in FOLDERS}
    for card in cards:
        for kind in _kinds(card):
            found[kind].add(card.name)
    return {name: sorted(names) for name, names in found.items()}


def _kinds(card: ModelCard) -> Sequence[str]:
    """A model of pictures is where clients look for those, and where its format is."""
    if card.outputs[:1] != ("image",):
        return (_folder(card),)
    kinds = ["tti"]
    if "image" in card.inputs:
        kinds.append("i2i")
    if card.format == "diffusers":
        kinds.append("diffusers_models")
    return kinds


def _folder(card: ModelCard) -> str:
    by_format = {"gguf": "gguf", "diffusers": "diffusers_models"}
    if card.format in by_format:
        return by_format[card.format]
    by_output = {"image": "tti", "video": "ttv", "audio": "tts"}
    return by_output.get(card.outputs[0] if card.outputs else "text", "ttt")


def _model(card: ModelCard) -> Model:
    return Model(
        name=card.name,
        size=card.size,
        modified_at=None if card.modified is None else _iso(card.modified),
        quantization_level=card.quantization,
        format=card.format,
        family=card.family,
        families=None if card.family is None else (card.family,),
        parameter_size=card.parameter_size,
        context_size=card.context_size,
        max_output_tokens=card.max_output_tokens,
        license=card.license,
        supports_vision="image" in card.inputs,
        supports_audio="audio" in card.inputs,
        details={"alias_of": card.alias_of} if card.alias_of else {},
    )


def _info(found: Found) -> ModelInfo:
    """Template and system prompt are left out: `details` is for reading at a glance."""
    if found.details is None:
        raise InternalError("no details of the model were found")
    told, card = found.details, found.details.card
    model = _model(card)
    vision = model.supports_vision or "vision" in told.capabilities
    details: dict[str, object] = {
        "capabilities": told.capabilities,
        "license": told.license or card.license,
        **{
            name: getattr(model, name)
            for name in ("size", "modified_at", "quantization_level", "format", "family")
        },
        "parameter_size": card.parameter_size,
        **model.details,
        **told.metadata,
    }
    return ModelInfo(
        binding_instance_name=card.binding,
        model_name=card.name,
        model_type=_model_type(card, told.capabilities, vision=vision),
        context_size=card.context_size,
        max_output_tokens=card.max_output_tokens,
        supports_vision=vision,
        supports_audio=model.supports_audio,
        supports_streaming=bool({"text", "image"} & set(card.outputs)),
        details={name: value for name, value in details.items() if value not in (None, "")},
    )


def _model_type(card: ModelCard, capabilities: Sequence[str], *, vision: bool) -> str | None:
    by_output = {"image": "tti", "video": "ttv", "audio": "tts"}
    output = card.outputs[0] if card.outputs else "text"
    if output in by_output:
        return by_output[output]
    if "completion" not in capabilities:
        return "generic"
    return "vlm" if vision else "ttt"


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
