"""What Ollama says about its models: those it has, one of them, those in memory."""

import re
from datetime import datetime
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from penstock.core.cards import ModelCard, known_time
from penstock.core.errors import EngineProtocolError
from penstock.core.events import Timings
from penstock.core.queries import Embedded, LoadedModel, ModelDetails
from penstock.wire import json

T = TypeVar("T")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class _Details(msgspec.Struct, frozen=True):
    format: str | None = None
    family: str | None = None
    families: list[str] | None = None
    parameter_size: str | None = None
    quantization_level: str | None = None


class _Tag(msgspec.Struct, frozen=True):
    name: str | None = None
    model: str | None = None
    modified_at: str | None = None
    size: int | None = None
    digest: str | None = None
    details: _Details | None = None


class _Shown(msgspec.Struct, frozen=True):
    template: str | None = None
    system: str | None = None
    license: str | None = None
    parameters: str | None = None
    modified_at: str | None = None
    details: _Details | None = None
    model_info: dict[str, object] | None = None
    capabilities: list[str] | None = None


class _Running(msgspec.Struct, frozen=True):
    name: str | None = None
    model: str | None = None
    size: int | None = None
    digest: str | None = None
    size_vram: int | None = None
    context_length: int | None = None
    expires_at: str | None = None
    details: _Details | None = None


class _Ps(msgspec.Struct, frozen=True):
    models: list[_Running] | None = None


class _Embeddings(msgspec.Struct, frozen=True):
    embeddings: list[list[float]]
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None


class _Tags(msgspec.Struct, frozen=True):
    models: list[_Tag] | None = None


def _read(data: bytes, kind: type[T]) -> T:
    try:
        return json.decode(data, kind, EngineProtocolError)
    except EngineProtocolError as error:
        # Not with the field as `param`: it is none of the request's.
        raise EngineProtocolError(
            f"the upstream sent what makes no sense: {error.message}"
        ) from error


def cards(data: bytes) -> tuple[ModelCard, ...]:
    """One card a tag of `GET /api/tags`. Raises `EngineProtocolError`."""
    tags = _read(data, _Tags).models or []
    return tuple(_card(tag, tag.details or _Details()) for tag in tags if tag.name or tag.model)


def details(name: str, data: bytes) -> ModelDetails:
    """The answer of `POST /api/show`. Raises `EngineProtocolError`."""
    shown = _read(data, _Shown)
    told = shown.model_info or {}
    metadata = {
        key: value for key, value in told.items() if isinstance(value, (bool, int, float, str))
    }
    context = metadata.get(f"{metadata.get('general.architecture')}.context_length")
    tag = _Tag(name=name, modified_at=shown.modified_at)
    card = _card(tag, shown.details or _Details())
    # Servers before 0.6.4 name no capabilities.
    capabilities = tuple(shown.capabilities or ("completion",))
    seeing = "image" in card.inputs or "vision" in capabilities
    return ModelDetails(
        card=replace(
            card,
            context_size=context if isinstance(context, int) else None,
            inputs=("text", "image") if seeing else ("text",),
        ),
        template=shown.template or "",
        system=shown.system or "",
        license=shown.license or "",
        parameters=_parameters(shown.parameters or ""),
        metadata=metadata,
        capabilities=capabilities,
    )


def vectors(data: bytes, wanted: int) -> Embedded:
    """The answer of `POST /api/embed`. Raises `EngineProtocolError`, also for too few vectors."""
    made = _read(data, _Embeddings)
    if len(made.embeddings) != wanted:
        raise EngineProtocolError(
            f"the upstream sent {len(made.embeddings)} vectors for {wanted} texts"
        )
    load, total = made.load_duration or 0, made.total_duration
    return Embedded(
        vectors=tuple(tuple(vector) for vector in made.embeddings),
        input_tokens=made.prompt_eval_count or 0,
        timings=Timings(load=load, prompt=max(0, total - load)) if total else None,
    )


def running(data: bytes) -> tuple[LoadedModel, ...]:
    """The answer of `GET /api/ps`. Raises `EngineProtocolError`."""
    models = _read(data, _Ps).models or []
    return tuple(_loaded(one) for one in models)


def _loaded(one: _Running) -> LoadedModel:
    tag = _Tag(name=one.name or one.model, digest=one.digest)
    return LoadedModel(
        card=_card(tag, one.details or _Details()),
        size=one.size or 0,
        gpu_size=one.size_vram or 0,
        context=one.context_length or 0,
        until=_seconds(one.expires_at),
    )


def _parameters(text: str) -> dict[str, float | int | str | tuple[str, ...]]:
    """A line a parameter: name, white space, value; `stop` comes once for every string."""
    found: dict[str, float | int | str | tuple[str, ...]] = {}
    for line in text.splitlines():
        name, _, written = line.strip().partition(" ")
        value = _value(written.strip())
        if name == "stop":
            before = found.get(name, ())
            found[name] = (*(before if isinstance(before, tuple) else ()), str(value))
        elif name:
            found[name] = value
    return found


def _value(written: str) -> float | int | str:
    try:
        value = json.decode(written, object, EngineProtocolError)
    except EngineProtocolError:
        return written
    return value if isinstance(value, (float, int, str)) else written


def _card(tag: _Tag, details: _Details) -> ModelCard:
    # Vision models of the first generation name their projector as a second family.
    seeing = bool({"clip", "mllama"} & set(details.families or ()))
    return ModelCard(
        name=tag.name or tag.model or "",
        modified=_seconds(tag.modified_at),
        size=tag.size,
        digest=tag.digest if tag.digest and _DIGEST.fullmatch(tag.digest) else None,
        quantization=details.quantization_level or None,
        format=details.format or None,
        family=details.family or None,
        parameter_size=details.parameter_size or None,
        inputs=("text", "image") if seeing else ("text",),
    )


def _seconds(moment: str | None) -> int | None:
    """Seconds since the epoch of an RFC 3339 time, which here has nanoseconds."""
    try:
        return known_time(datetime.fromisoformat(moment).timestamp()) if moment else None
    except (ValueError, OverflowError):
        return None
