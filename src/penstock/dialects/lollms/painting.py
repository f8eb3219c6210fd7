"""What a lollms request for pictures asks for (2.1, 2.2 and 2.4 of the specification).

`parameters` is free-form: what is understood is passed on, the gateway leaves out what the binding
has no use for, and everything that does not count is named in the answer.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.core.errors import InvalidRequestError, UnsupportedParameterError
from penstock.core.messages import ImagePart, Message, say
from penstock.core.request import ImageAsk
from penstock.dialects.lollms import shapes
from penstock.dialects.lollms.items import Items, address
from penstock.dialects.lollms.shapes import Item
from penstock.wire import json

KNOWN: Final = frozenset(shapes.PictureParameters.__struct_fields__)
"""The entries of `parameters` that are understood."""

_MASK: Final = "mask_image"
_REFUSED: Final = frozenset({"controlnet_image", "style_reference", "reference_image"})
"""Published roles that would change the picture, and that no engine here has a place for."""
_SIZE: Final = re.compile(r"\s*(\d{1,6})\s*[xX*]\s*(\d{1,6})\s*")


class Painting(msgspec.Struct, frozen=True):
    """The parts of a `Request` that are about pictures."""

    messages: tuple[Message, ...]
    image: ImageAsk
    ignored: tuple[str, ...]


def painting(data: bytes, body: shapes.Body, found: Items, *, stream: bool) -> Painting:
    """Raises `InvalidRequestError`. Pictures of the work are wanted where there is a stream."""
    asked = json.decode(data, shapes.PictureBody, InvalidRequestError).parameters
    asked = asked or shapes.PictureParameters()
    inputs, mask = _pictures(found.counted)
    if body.generation_type == "i2i" and not inputs:
        raise InvalidRequestError(
            "input_data: an image with the role input_image is needed", param="input_data"
        )
    # How much of a picture to keep says nothing where there is none.
    idle = asked.strength is not None and not inputs
    image = ImageAsk(
        size=_size(asked),
        count=1 if asked.n is None else asked.n,
        quality=None if asked.quality == "auto" else asked.quality or None,
        style=asked.style or None,
        negative_prompt=asked.negative_prompt or None,
        steps=asked.num_inference_steps if asked.steps is None else asked.steps,
        guidance_scale=asked.cfg_scale if asked.guidance_scale is None else asked.guidance_scale,
        sampler=asked.sampler or asked.scheduler or None,
        strength=None if idle else asked.strength,
        previews=None if stream else 0,
        inputs=inputs,
        mask=mask,
    )
    texts = found.texts("user_prompt")
    ignored = (*_unheard(found), *(("parameters.strength",) if idle else ()))
    return Painting((say("user", "\n\n".join(texts)),), image, ignored)


def _unheard(found: Items) -> list[str]:
    """Texts that are no prompt."""
    return [
        f"input_data[{n}]" for n, i in found.counted if i.type == "text" and i.role != "user_prompt"
    ]


def _pictures(
    counted: Sequence[tuple[int, Item]],
) -> tuple[tuple[ImagePart, ...], ImagePart | None]:
    """What to start from, and the mask: white where to draw."""
    inputs: list[ImagePart] = []
    mask: ImagePart | None = None
    for n, item in counted:
        if item.type != "image":
            continue
        at = f"input_data[{n}]"
        if item.role in _REFUSED:
            raise UnsupportedParameterError(
                f"{at}.role: {item.role!r} is not supported", param=f"{at}.role"
            )
        part = ImagePart(url=address(item, n, "image/*"), at=f"{at}.data")
        if item.role != _MASK:
            inputs.append(part)
        elif mask is None:
            mask = part
        else:
            raise InvalidRequestError(f"{at}: there are two masks", param=at)
    return tuple(inputs), mask


def _size(asked: shapes.PictureParameters) -> tuple[int, int] | None:
    """`width` and `height` win over `size`; one of them alone means a square."""
    width, height = asked.width, asked.height
    if width is not None or height is not None:
        return (width or height or 0, height or width or 0)
    if not asked.size or asked.size == "auto":
        return None
    found = _SIZE.fullmatch(asked.size)
    if found is None:
        raise InvalidRequestError(
            "parameters.size must be WIDTHxHEIGHT, such as 512x512", param="parameters.size"
        )
    return int(found[1]), int(found[2])
