"""Ollama's list of models."""

from datetime import datetime

import msgspec

from penstock.core.cards import ModelCard
from penstock.core.errors import EngineProtocolError
from penstock.wire import json


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
    details: _Details | None = None


class _Tags(msgspec.Struct, frozen=True):
    models: list[_Tag] | None = None


def cards(data: bytes) -> tuple[ModelCard, ...]:
    """One card a tag of `GET /api/tags`. Raises `EngineProtocolError`."""
    tags = json.decode(data, _Tags, EngineProtocolError).models or []
    return tuple(_card(tag, tag.details or _Details()) for tag in tags if tag.name or tag.model)


def _card(tag: _Tag, details: _Details) -> ModelCard:
    # Vision models of the first generation name their projector as a second family.
    seeing = bool({"clip", "mllama"} & set(details.families or ()))
    return ModelCard(
        name=tag.name or tag.model or "",
        modified=_seconds(tag.modified_at),
        size=tag.size,
        quantization=details.quantization_level or None,
        format=details.format or None,
        family=details.family or None,
        parameter_size=details.parameter_size or None,
        inputs=("text", "image") if seeing else ("text",),
    )


def _seconds(moment: str | None) -> int | None:
    """Seconds since the epoch of an RFC 3339 time, which here has nanoseconds."""
    try:
        return int(datetime.fromisoformat(moment).timestamp()) if moment else None
    except ValueError:
        return None
