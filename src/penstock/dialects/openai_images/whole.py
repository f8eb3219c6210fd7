"""A whole reply to OpenAI's answer of pictures."""

from typing import Final

from msgspec import UNSET

from penstock.core import events as ev
from penstock.core.folding import Reply
from penstock.core.ports import Answer
from penstock.core.request import Request
from penstock.dialects._openai_errors import ErrorBody, ErrorObject
from penstock.dialects.openai_images import shapes
from penstock.dialects.openai_images.encode import (
    Looks,
    file_format,
    looks,
    shortfall,
    usage_of,
)
from penstock.wire import json

_STATUS: Final = {"moderation_blocked": 400, "cancelled": 400}
_NOTHING: Final = 502


def whole(request: Request, reply: Reply) -> Answer:
    """All pictures of a reply; an error where it has none."""
    images = [image for choice in reply.choices for image in choice.images]
    look = looks(request)
    missing = shortfall(reply.first.reason, len(images), look.asked.count)
    if not images and missing is not None:
        error = ErrorObject(missing.message, missing.type, missing.param, missing.code)
        status = _STATUS.get(missing.code or "", _NOTHING)
        return Answer(status, json.encode(ErrorBody(error)))
    first = images[0]
    created = 0 if reply.start is None else (reply.start.created + reply.ms) // 1000
    found = shapes.ImagesAnswer(
        created=created,
        data=tuple(_made(look, image) for image in images),
        background=look.setting("background", first) or UNSET,
        output_format=file_format(first.blob),
        size=look.size(first) or UNSET,
        quality=look.setting("quality", first) or UNSET,
        usage=usage_of(reply.usage, bool(look.asked.inputs)),
        stop_reason=UNSET if missing is None else reply.first.reason or UNSET,
    )
    pictures = tuple(look.show(image.blob) for image in images)
    return Answer(200, json.encode(found), pictures=pictures)


def _made(look: Looks, image: ev.Image) -> shapes.MadeImage:
    return shapes.MadeImage(
        b64_json=look.base64_place,
        url=look.address_place,
        revised_prompt=image.prompt or UNSET,
        seed=UNSET if image.seed is None else image.seed,
    )
