"""May this request start on this engine? Pure decisions, before anything has happened."""

from collections.abc import Set as AbstractSet

import msgspec

from penstock.core.errors import (
    ForbiddenError,
    InvalidRequestError,
    ModalityError,
    OverloadedError,
    UnsupportedParameterError,
)
from penstock.core.ports import Engine
from penstock.core.principals import Principal
from penstock.core.request import IMAGE_FEATURES, ImageAsk, Request, Sampling, features
from penstock.gateway import choices

COUNTED = frozenset({"embed", "load_model"})
"""Questions that are work of an engine's: they count as requests of a key with limits."""
_SAMPLING = frozenset(Sampling.__struct_fields__)
_AS_CLIENTS_SAY: dict[str, str] = {
    "reply_format": "response_format",
    "effort": "reasoning_effort",
    "choices": "n",
    "images": "messages",
    "inputs": "image",
    "file_format": "output_format",
    "compression": "output_compression",
}
_PICTURES = frozenset({"inputs", "mask"})


def check_room(live: int, most: int) -> None:
    """Raises `OverloadedError` when `most` runs are alive."""
    if live >= most:
        raise OverloadedError("too many generations at once; try again shortly", retry_after=1.0)


def check_dialect(principal: Principal, dialect: str) -> None:
    """Raises `ForbiddenError` when this key may not speak this dialect."""
    if not principal.may_speak(dialect):
        raise ForbiddenError(f"this key may not use the dialect {dialect!r}")


def check_model(principal: Principal, asked: str, answering: str) -> None:
    """Raises `ForbiddenError` unless this key may use what was asked for, or what stands behind."""
    if not any(principal.may_use(name) for name in (asked, answering) if name):
        raise ForbiddenError(f"this key may not use the model {asked or answering!r}")


def check_store(principal: Principal) -> None:
    """Raises `ForbiddenError` for a key that may not change the models of this machine."""
    if not principal.is_admin:
        raise ForbiddenError("this key may not change the models here: it is no admin key")


def fit(request: Request, engine: Engine, binding: str) -> Request:
    """The request as this engine can run it.

    What would change the answer and can't be honoured is refused by name
    (`UnsupportedParameterError`);
    in a free-form request a sampling parameter is left out instead, and named in `ignored`. So is
    an effort that was only hinted at.
    """
    if request.modality not in engine.outputs:
        raise ModalityError(f"the binding {binding!r} makes no {request.modality}")
    if request.choices > choices.MOST:
        raise InvalidRequestError(f"at most {choices.MOST} choices", param="n")
    # Several choices need nothing of an engine: it is asked several times.
    lacking = features(request) - engine.supports - {"choices"}
    if not lacking:
        return request
    if "effort" in lacking and request.effort_hint:
        request, lacking = _drop_effort(request), lacking - {"effort"}
    if request.freeform:
        request, lacking = _drop(request, lacking)
    for name in sorted(lacking):
        said = _AS_CLIENTS_SAY.get(name, name)
        if request.freeform:
            said = _said_freely(name, request)
        raise UnsupportedParameterError(
            f"the binding {binding!r} does not support {_what(name, said)}", param=said
        )
    return request


def _what(name: str, said: str) -> str:
    return f"{name} ({said})" if name == "images" else said


def _said_freely(name: str, request: Request) -> str:
    """As lollms' clients say it."""
    if name in ("images", *_PICTURES):
        return "input_data"
    return "functions" if name == "tools" and request.functions else f"parameters.{name}"


def _drop_effort(request: Request) -> Request:
    ignored = (*request.ignored, request.effort_hint)
    return msgspec.structs.replace(request, effort=None, effort_hint="", ignored=ignored)


def _drop(request: Request, lacking: AbstractSet[str]) -> tuple[Request, frozenset[str]]:
    if request.modality == "image":
        return _drop_of_image(request, lacking)
    droppable = lacking & _SAMPLING
    if droppable:
        empty = Sampling()
        sampling = msgspec.structs.replace(
            request.sampling, **{name: getattr(empty, name) for name in droppable}
        )
        ignored = (*request.ignored, *(_said_freely(name, request) for name in sorted(droppable)))
        request = msgspec.structs.replace(request, sampling=sampling, ignored=ignored)
    return request, frozenset(lacking - _SAMPLING)


def _drop_of_image(request: Request, lacking: AbstractSet[str]) -> tuple[Request, frozenset[str]]:
    droppable = lacking & IMAGE_FEATURES - _PICTURES
    empty, sampling = ImageAsk(), request.sampling
    image = msgspec.structs.replace(
        request.image or empty, **{name: getattr(empty, name) for name in droppable - {"seed"}}
    )
    if "seed" in droppable:
        sampling = msgspec.structs.replace(sampling, seed=None)
    ignored = (*request.ignored, *(f"parameters.{name}" for name in sorted(droppable)))
    request = msgspec.structs.replace(request, image=image, sampling=sampling, ignored=ignored)
    return request, frozenset(lacking - droppable)
