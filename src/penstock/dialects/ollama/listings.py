"""Models, what they are, what is in memory, vectors."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from penstock.core.cards import ModelCard
from penstock.core.errors import InternalError
from penstock.core.queries import Found, ModelDetails
from penstock.dialects.ollama.lines import Chatted, Generated, Message, moment
from penstock.dialects.ollama.parse import GENERATE
from penstock.dialects.ollama.questions import EMBED, EMBEDDINGS
from penstock.wire import json

API_VERSION: Final = "0.13.0"
"""The version of Ollama's API that this is; its clients compare it."""
_NEVER: Final = "0001-01-01T00:00:00Z"
_FOR_EVER: Final = "9999-12-31T23:59:59Z"


class Details(msgspec.Struct, frozen=True):
    """What kind of model it is."""

    parent_model: str
    format: str
    family: str
    families: tuple[str, ...]
    parameter_size: str
    quantization_level: str


class Tag(msgspec.Struct, frozen=True):
    """A line of `/api/tags`."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details


class Tags(msgspec.Struct, frozen=True):
    """`/api/tags`."""

    models: tuple[Tag, ...]


class Loaded(msgspec.Struct, frozen=True):
    """A line of `/api/ps`."""

    name: str
    model: str
    size: int
    digest: str
    details: Details
    expires_at: str
    size_vram: int
    context_length: int


class Running(msgspec.Struct, frozen=True):
    """`/api/ps`."""

    models: tuple[Loaded, ...]


class Shown(msgspec.Struct, frozen=True):
    """`/api/show`."""

    modelfile: str
    parameters: str
    template: str
    system: str
    license: str
    details: Details
    model_info: Mapping[str, int | float | str | bool]
    capabilities: tuple[str, ...]
    modified_at: str


class Version(msgspec.Struct, frozen=True):
    """`/api/version`: Ollama's, and ours."""

    version: str
    penstock: str


class Embedded(msgspec.Struct, frozen=True):
    """`/api/embed`. Times in nanoseconds."""

    model: str
    embeddings: tuple[tuple[float, ...], ...]
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET


class OneEmbedded(msgspec.Struct, frozen=True):
    """`/api/embeddings`."""

    embedding: tuple[float, ...]


def answer(found: Found) -> bytes:
    """The body of an answer that is no generation; empty where Ollama's is."""
    made = _ANSWERS.get(found.query.operation)
    return b"" if made is None else made(found)


def details(card: ModelCard) -> Details:
    """The part that every listing has."""
    family = card.family or ""
    return Details(
        parent_model=card.alias_of or "",
        format=card.format or "",
        family=family,
        families=(family,) if family else (),
        parameter_size=card.parameter_size or "",
        quantization_level=card.quantization or "",
    )


def digest(card: ModelCard) -> str:
    """64 hexadecimal digits that name this model, as clients show the first twelve of them.

    The SHA-256 of its file; of what is known about it where nobody has read that (yet): the same
    digits as long as name, size and time stay.
    """
    if card.digest is not None:
        return card.digest
    known = (card.binding, card.alias_of or card.name, card.size, card.modified)
    return sha256(json.encode(known)).hexdigest()


def _tag(card: ModelCard) -> Tag:
    return Tag(card.name, card.name, _modified(card), card.size or 0, digest(card), details(card))


def _modified(card: ModelCard) -> str:
    return _NEVER if card.modified is None else moment(card.modified * 1000)


def _running(found: Found) -> Running:
    return Running(
        tuple(
            Loaded(
                name=one.card.name,
                model=one.card.name,
                size=one.size,
                digest=digest(one.card),
                details=details(one.card),
                expires_at=_FOR_EVER if one.until is None else moment(one.until * 1000),
                size_vram=one.gpu_size,
                context_length=one.context,
            )
            for one in found.loaded
        )
    )


def _shown(about: ModelDetails | None) -> Shown:
    if about is None:
        raise InternalError("no details were found")
    parameters = "\n".join(_parameters(about))
    lines = [f"FROM {about.card.name}"]
    if about.template:
        lines.append(f'TEMPLATE """{about.template}"""')
    if about.system:
        lines.append(f'SYSTEM """{about.system}"""')
    lines += [f"PARAMETER {line}" for line in _parameters(about)]
    return Shown(
        modelfile="\n".join(lines) + "\n",
        parameters=parameters,
        template=about.template,
        system=about.system,
        license=about.license or about.card.license or "",
        details=details(about.card),
        model_info=about.metadata,
        capabilities=about.capabilities,
        modified_at=_modified(about.card),
    )


def _parameters(about: ModelDetails) -> list[str]:
    found = []
    for name, value in about.parameters.items():
        values = value if isinstance(value, tuple) else (value,)
        found += [f"{name:<30} {json.encode(one).decode()}" for one in values]
    return found


def _embedded(found: Found) -> bytes:
    made = found.embedded
    if made is None:
        raise InternalError("no vectors were made")
    if found.query.form != EMBED:
        return json.encode(OneEmbedded(made.vectors[0]))
    times, model = made.timings, found.query.name
    if times is None:
        return json.encode(Embedded(model, made.vectors, prompt_eval_count=made.input_tokens))
    total = times.load + times.prompt
    return json.encode(Embedded(model, made.vectors, total, times.load, made.input_tokens))


def _loaded(found: Found) -> object:
    """A request that only loaded or unloaded the model."""
    query = found.query
    if query.form == EMBED:
        return Embedded(query.name, ())
    if query.form == EMBEDDINGS:
        return OneEmbedded(())
    reason = "load" if query.operation == "load_model" else "unload"
    created = moment(found.now * 1000)
    if query.form == GENERATE:
        return Generated(
            model=query.name, created_at=created, response="", done=True, done_reason=reason
        )
    nothing = Message("assistant", "")
    return Chatted(
        model=query.name, created_at=created, message=nothing, done=True, done_reason=reason
    )


_ANSWERS: Final[Mapping[str, Callable[[Found], bytes]]] = {
    "models": lambda found: json.encode(Tags(tuple(_tag(card) for card in found.models))),
    "loaded_models": lambda found: json.encode(_running(found)),
    "model_details": lambda found: json.encode(_shown(found.details)),
    "version": lambda found: json.encode(Version(API_VERSION, found.version)),
    "embed": _embedded,
    "load_model": lambda found: json.encode(_loaded(found)),
    "unload_model": lambda found: json.encode(_loaded(found)),
}
