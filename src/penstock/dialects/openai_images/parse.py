"""A request for pictures, JSON or a form, to a `Request`."""

import re
from base64 import b64encode
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from penstock.core.errors import InvalidRequestError, UnsupportedParameterError
from penstock.core.messages import ImagePart, say
from penstock.core.request import ImageAsk, Request, Sampling
from penstock.dialects import _tools
from penstock.dialects._openai_fields import ignored, model_name, refuse
from penstock.dialects.openai_images import shapes
from penstock.dialects.openai_images.fields import EDITS, GENERATIONS
from penstock.dialects.openai_images.multipart import Part, is_form, parts
from penstock.wire import json

EDIT: Final = "edit"
URL: Final = "url"
"""Words of `Request.form`: it is an edit, addresses are wanted."""

_SIZE: Final = re.compile(r"(\d{1,6})x(\d{1,6})")
_ORDINARY: Final = ("auto", "standard")
_FORMATS: Final[dict[str | None, Literal["png", "jpeg", "webp"]]] = {
    "png": "png",
    "jpeg": "jpeg",
    "webp": "webp",
}
_PICTURES: Final = ("image", "mask", "markup")
_ADDRESSES: Final = (b"data:", b"https://", b"http://")


def generation(data: bytes) -> Request:
    """Raises `InvalidRequestError`."""
    body = json.decode(data, shapes.GenerationBody, InvalidRequestError)
    refuse(body, GENERATIONS)
    return _request(body, _asked(body), ignored(body, GENERATIONS))


def edit(data: bytes, content_type: str) -> Request:
    """Raises `InvalidRequestError`."""
    if is_form(content_type):
        return _form(parts(content_type, data))
    body = json.decode(data, shapes.EditBody, InvalidRequestError)
    if _tools.given(body.image):
        raise InvalidRequestError(
            'image: a JSON body has images: [{"image_url": …}]', param="image"
        )
    inputs = [_reference(said, f"images[{n}]") for n, said in enumerate(body.images or ())]
    mask = None if body.mask is None else _reference(body.mask, "mask")
    return _edit(body, inputs, mask, "images")


def _form(found: Sequence[Part]) -> Request:
    """Fields of a form are texts; `image[]` and `image` are the same name."""
    fields: dict[str, str] = {}
    inputs: list[ImagePart] = []
    mask: ImagePart | None = None
    for part in found:
        name = part.name.partition("[")[0]
        if name == "image":
            inputs.append(_picture(part, f"image[{len(inputs)}]"))
        elif name == "mask":
            if mask is not None:
                raise InvalidRequestError("mask: there are two", param="mask")
            mask = _picture(part, "mask")
        elif name != "images" and (part.data or name == "prompt"):
            fields[name] = "given" if name == "markup" else _text(part, name)
    if len(inputs) == 1:
        inputs = [msgspec.structs.replace(inputs[0], at="image")]
    body = json.decode(json.encode(fields), shapes.EditBody, InvalidRequestError, lax=True)
    return _edit(body, inputs, mask, "image")


def _text(part: Part, name: str) -> str:
    try:
        return part.data.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"{name}: not UTF-8", param=name) from error


def _picture(part: Part, at: str) -> ImagePart:
    if not part.file and part.data.startswith(_ADDRESSES):
        return ImagePart(url=part.data.decode("utf-8", "replace"), at=at)
    kind = part.media_type if part.file else ""
    return ImagePart(url=f"data:{kind or 'image/*'};base64,{b64encode(part.data).decode()}", at=at)


def _reference(said: shapes.ImageReference, at: str) -> ImagePart:
    if _tools.given(said.file_id):
        raise UnsupportedParameterError(
            f"{at}.file_id is not supported: there are no files here", param=f"{at}.file_id"
        )
    if not said.image_url:
        raise InvalidRequestError(f"{at}.image_url is missing", param=f"{at}.image_url")
    return ImagePart(url=said.image_url, at=f"{at}.image_url")


def _edit(
    body: shapes.EditBody, inputs: Sequence[ImagePart], mask: ImagePart | None, name: str
) -> Request:
    refuse(body, EDITS)
    if not inputs:
        raise InvalidRequestError(f"{name}: a picture to edit is needed", param=name)
    fidelity = body.input_fidelity
    asked = msgspec.structs.replace(
        _asked(body),
        inputs=tuple(inputs),
        mask=mask,
        mask_by="alpha" if mask is not None else "luma",
        input_fidelity=None if fidelity == "low" else fidelity,
        strength=body.strength,
    )
    return _request(body, asked, ignored(body, EDITS), EDIT)


def _request(
    body: shapes.ImagesBody, asked: ImageAsk, hints: tuple[str, ...], form: str = ""
) -> Request:
    words = (form, URL if body.response_format == "url" else "")
    return Request(
        model=model_name(body.model),
        messages=(say("user", body.prompt),),
        modality="image",
        sampling=Sampling(seed=None if body.seed is None or body.seed < 0 else body.seed),
        stream=bool(body.stream),
        form=" ".join(word for word in words if word),
        image=asked,
        ignored=hints,
    )


def _asked(body: shapes.ImagesBody) -> ImageAsk:
    """Values that every model has anyway are no wishes."""
    if body.output_format in ("gif", "svg"):
        raise UnsupportedParameterError(
            f"output_format: {body.output_format!r} is not supported", param="output_format"
        )
    return ImageAsk(
        size=_size(body.size),
        count=1 if body.n is None else body.n,
        quality=None if body.quality in _ORDINARY else body.quality or None,
        style=body.style or None,
        negative_prompt=body.negative_prompt or None,
        steps=body.steps,
        guidance_scale=body.guidance_scale,
        sampler=body.sampler or None,
        background=None if body.background == "auto" else body.background,
        file_format=_FORMATS.get(body.output_format),
        compression=None if body.output_compression == 100 else body.output_compression,
        moderation=None if body.moderation == "auto" else body.moderation,
        previews=body.partial_images or 0 if body.stream else 0,
    )


def _size(said: str | None) -> tuple[int, int] | None:
    if said in (None, "", "auto"):
        return None
    found = _SIZE.fullmatch(said)
    if found is None:
        raise InvalidRequestError(
            "size must be WIDTHxHEIGHT, such as 1024x1024, or auto", param="size"
        )
    return int(found[1]), int(found[2])
