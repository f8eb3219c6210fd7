"""What OpenAI publishes as legal for each family of its image models. Pure.

Source: the types of openai-python 3.52.0 (`image_generate_params`, `image_edit_params`) for the GPT
image models; those of openai-python 1.99 for DALL·E, which that API served until May 2026 and other
servers still do. A model of no known name may have everything: its server refuses what it lacks.
"""

import re
from math import sqrt
from typing import Final, Literal

import msgspec

from penstock.core.errors import InvalidRequestError, UnsupportedParameterError
from penstock.core.request import ImageAsk, Request, features

Name = Literal["dall-e-2", "dall-e-3", "gpt-image", "any"]
_Size = tuple[int, int]

_GENERATED: Final = frozenset({"size", "quality"})
_EDITED: Final = frozenset({"inputs", "mask"})
_GPT: Final = (
    _GENERATED
    | _EDITED
    | {"background", "file_format", "compression", "moderation", "input_fidelity"}
)
_SQUARES: Final = ((256, 256), (512, 512), (1024, 1024))
_WIDE: Final = ((1024, 1024), (1792, 1024), (1024, 1792))
_STANDARD: Final = ((1024, 1024), (1536, 1024), (1024, 1536))
_GPT_QUALITIES: Final = ("auto", "low", "medium", "high")
_GENERATED_ONLY: Final = frozenset({"moderation", "style"})
_EDITED_ONLY: Final = frozenset({"input_fidelity"})
_SAID: Final = {
    "inputs": "image",
    "file_format": "output_format",
    "compression": "output_compression",
}
_MULTIPLE, _LONGEST, _MOST_SHAPE = 16, (3840, 2160), 3


class Family(msgspec.Struct, frozen=True):
    """`sizes`, `qualities`: none where any may be asked for. `multiple`: sides are multiples of it.

    `streams`: it has `stream` and `partial_images`. `formats`: it has `response_format`.
    """

    name: Name
    supports: frozenset[str]
    sizes: tuple[_Size, ...] = ()
    qualities: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    fidelities: tuple[str, ...] = ()
    most: int = 10
    most_inputs: int = 16
    flexible: bool = False
    streams: bool = False
    formats: bool = False


_DALL_E_2: Final = Family(
    "dall-e-2",
    _GENERATED | _EDITED,
    sizes=_SQUARES,
    qualities=("standard",),
    most_inputs=1,
    formats=True,
)
_DALL_E_3: Final = Family(
    "dall-e-3",
    _GENERATED | {"style"},
    sizes=_WIDE,
    qualities=("standard", "hd"),
    styles=("vivid", "natural"),
    most=1,
    formats=True,
)
_GPT_IMAGE_1: Final = Family(
    "gpt-image",
    _GPT,
    sizes=_STANDARD,
    qualities=_GPT_QUALITIES,
    fidelities=("high", "low"),
    streams=True,
)
_GPT_IMAGE_MINI: Final = msgspec.structs.replace(_GPT_IMAGE_1, fidelities=("low",))
_GPT_IMAGE_2: Final = msgspec.structs.replace(
    _GPT_IMAGE_1, supports=_GPT - {"input_fidelity"}, sizes=(), fidelities=(), flexible=True
)
_GPT_IMAGE_2_5: Final = msgspec.structs.replace(
    _GPT_IMAGE_2, qualities=(*_GPT_QUALITIES, "xhigh", "max")
)
_ANY: Final = Family("any", _GPT | {"style"})

_FAMILIES: Final = (
    (r"dall-e-2", _DALL_E_2),
    (r"dall-e-3", _DALL_E_3),
    (r"gpt-image-1-mini", _GPT_IMAGE_MINI),
    (r"gpt-image-1(\.5)?|chatgpt-image-latest", _GPT_IMAGE_1),
    (r"gpt-image-2(-\d{4}-\d\d-\d\d)?", _GPT_IMAGE_2),
    (r"gpt-image-2\.5-.+", _GPT_IMAGE_2_5),
    # Named in the types without limits of its own: the server says what it lacks.
    (r"gpt-image-.+", msgspec.structs.replace(_ANY, name="gpt-image", supports=_GPT, streams=True)),
)


def family(model: str) -> Family:
    """By the name of the model, whose vendor may stand before it (`openai/dall-e-3`)."""
    bare = model.rpartition("/")[2].lower()
    for pattern, found in _FAMILIES:
        if re.fullmatch(pattern, bare):
            return found
    return _ANY


def fitted(request: Request, model: str, of: Family) -> ImageAsk:
    """What is asked, where this model can make it: of a free-form request at the nearest size, and
    without a quality or style that it has no such word for.

    Raises `InvalidRequestError` or `UnsupportedParameterError` naming the field.
    """
    asked = request.image or ImageAsk()
    # Of the two routes one has no `moderation`, the other no `input_fidelity` and no `style`.
    elsewhere = _GENERATED_ONLY if asked.inputs else _EDITED_ONLY
    lacking = sorted(features(request) & elsewhere | features(request) - of.supports)
    if lacking:
        name = _SAID.get(lacking[0], lacking[0])
        raise UnsupportedParameterError(f"{name}: the model {model} has no such thing", param=name)
    if asked.count > of.most:
        raise InvalidRequestError(f"n: {model} makes at most {of.most}", param="n")
    if len(asked.inputs) > of.most_inputs:
        raise InvalidRequestError(
            f"image: {model} takes at most {of.most_inputs} input pictures", param="image"
        )
    asked = _in_its_words(asked, model, of, freely=request.freeform)
    if asked.size is None or _fits(asked.size, of):
        return asked
    if request.freeform:
        return msgspec.structs.replace(asked, size=_nearest(asked.size, of))
    raise InvalidRequestError(f"size: {model} makes {_sizes_said(of)}", param="size")


def _in_its_words(asked: ImageAsk, model: str, of: Family, *, freely: bool) -> ImageAsk:
    """lollms' clients ask every model for the `standard` quality: left to a model without one."""
    for name, legal in (
        ("quality", of.qualities),
        ("style", of.styles),
        ("input_fidelity", of.fidelities),
    ):
        said = getattr(asked, name)
        if said is None or not legal or said in legal:
            continue
        if not freely:
            raise InvalidRequestError(f"{name}: {model} knows {', '.join(legal)}", param=name)
        asked = msgspec.structs.replace(asked, **{name: None})
    return asked


def _fits(size: _Size, of: Family) -> bool:
    if of.flexible:
        width, height = size
        longest, shortest = max(size), min(size)
        return (
            not (width % _MULTIPLE or height % _MULTIPLE)
            and longest <= _MOST_SHAPE * shortest
            and longest <= _LONGEST[0]
            and width * height <= _LONGEST[0] * _LONGEST[1]
        )
    return not of.sizes or size in of.sizes


def _nearest(size: _Size, of: Family) -> _Size:
    """Of the same shape first, then of the same area."""
    if of.flexible:
        return _nearest_flexible(size)

    def far(other: _Size) -> tuple[float, float]:
        shape = (size[0] / size[1]) / (other[0] / other[1])
        area = (size[0] * size[1]) / (other[0] * other[1])
        return max(shape, 1 / shape), max(area, 1 / area)

    return min(of.sizes, key=far)


def _nearest_flexible(size: _Size) -> _Size:
    width, height = (float(side) for side in size)
    width, height = min(width, _MOST_SHAPE * height), min(height, _MOST_SHAPE * width)
    shrunk = min(
        1.0,
        _LONGEST[0] / max(width, height),
        sqrt(_LONGEST[0] * _LONGEST[1] / (width * height)),
    )
    # Downwards: rounding up could step over a limit again.
    across, down = (max(1, int(side * shrunk / _MULTIPLE)) * _MULTIPLE for side in (width, height))
    return min(across, _MOST_SHAPE * down), min(down, _MOST_SHAPE * across)


def _sizes_said(of: Family) -> str:
    if of.flexible:
        return (
            f"sides that are multiples of {_MULTIPLE}, of shapes up to {_MOST_SHAPE}:1, "
            f"up to {_LONGEST[0]}x{_LONGEST[1]}"
        )
    return ", ".join(f"{width}x{height}" for width, height in of.sizes)
