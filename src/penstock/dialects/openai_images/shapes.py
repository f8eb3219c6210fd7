"""What clients of OpenAI's images API send, and what they are told.

Unknown fields are ignored, `null` is "not given". What becomes of each field: `fields`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from penstock.dialects._tools import null

# ── asked ────────────────────────────────────────────────────────────────────────────────────────


class ImagesBody(msgspec.Struct, frozen=True, kw_only=True):
    """What both ways to ask for pictures have."""

    prompt: str
    model: str | None = None
    n: int | None = None
    size: str | None = None
    quality: str | None = None
    style: str | None = None
    background: Literal["transparent", "opaque", "auto"] | None = None
    moderation: Literal["low", "auto"] | None = None
    output_format: Literal["png", "webp", "jpeg", "gif", "svg"] | None = None
    output_compression: Annotated[int, Meta(ge=0, le=100)] | None = None
    partial_images: Annotated[int, Meta(ge=0, le=3)] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    stream: bool | None = None

    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    steps: int | None = None
    negative_prompt: str | None = None
    guidance_scale: float | None = None
    sampler: str | None = None

    user: Raw = msgspec.field(default_factory=null)
    safety_identifier: Raw = msgspec.field(default_factory=null)

    complexity: Raw = msgspec.field(default_factory=null)
    frame_count: Raw = msgspec.field(default_factory=null)
    frame_duration_ms: Raw = msgspec.field(default_factory=null)
    svg: Raw = msgspec.field(default_factory=null)


class GenerationBody(ImagesBody, frozen=True, kw_only=True):
    """The body of `POST /v1/images/generations`."""


class ImageReference(msgspec.Struct, frozen=True):
    """A picture: an `https:` or `data:` address. `file_id` is refused."""

    image_url: str | None = None
    file_id: Raw = msgspec.field(default_factory=null)


class EditBody(ImagesBody, frozen=True, kw_only=True):
    """The body of `POST /v1/images/edits`. Pictures of a form are parts of it, not in here."""

    images: tuple[ImageReference, ...] | None = None
    image: Raw = msgspec.field(default_factory=null)
    mask: ImageReference | None = None
    input_fidelity: Literal["high", "low"] | None = None
    strength: float | None = None
    markup: Raw = msgspec.field(default_factory=null)


Picture = Annotated[
    str, Meta(description="A file: PNG, JPEG or WebP.", extra_json_schema={"format": "binary"})
]


class EditForm(ImagesBody, frozen=True, kw_only=True):
    """The same as a form. Several pictures are several fields called `image[]`."""

    image: Picture
    mask: Picture | None = None
    input_fidelity: Literal["high", "low"] | None = None
    strength: float | None = None


# ── told ─────────────────────────────────────────────────────────────────────────────────────────


class ImageInputDetails(msgspec.Struct, frozen=True):
    """Of the tokens that were read."""

    text_tokens: int
    image_tokens: int


class ImageUsage(msgspec.Struct, frozen=True):
    """Counts of tokens, where the engine has any."""

    total_tokens: int
    input_tokens: int
    output_tokens: int
    input_tokens_details: ImageInputDetails | UnsetType = UNSET


class MadeImage(msgspec.Struct, frozen=True, kw_only=True):
    """A picture: its bytes in base64, or its address. `seed` is an extension: what draws it again.

    `revised_prompt`: what was drawn, where the engine changed the prompt.
    """

    b64_json: Raw | UnsetType = UNSET
    url: Raw | UnsetType = UNSET
    revised_prompt: str | UnsetType = UNSET
    seed: int | UnsetType = UNSET


class ImagesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. `stop_reason` is an extension: why there are fewer than were asked for."""

    created: int
    data: tuple[MadeImage, ...]
    background: str | UnsetType = UNSET
    output_format: str | UnsetType = UNSET
    size: str | UnsetType = UNSET
    quality: str | UnsetType = UNSET
    usage: ImageUsage | UnsetType = UNSET
    stop_reason: str | UnsetType = UNSET


class ImageEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a stream: a picture of the work in progress, or a finished one.

    `url` in place of `b64_json`, `revised_prompt` and `seed` are extensions.
    """

    type: str
    b64_json: Raw | UnsetType = UNSET
    url: Raw | UnsetType = UNSET
    created_at: int
    size: str
    quality: str
    background: str
    output_format: str
    partial_image_index: int | UnsetType = UNSET
    revised_prompt: str | UnsetType = UNSET
    seed: int | UnsetType = UNSET
    usage: ImageUsage | UnsetType = UNSET


class ImageErrorObject(msgspec.Struct, frozen=True):
    """All four keys, always."""

    type: str
    code: str | None
    message: str
    param: str | None


class ImageErrorEvent(msgspec.Struct, frozen=True):
    """The last event of a stream that came to nothing, or to less than was asked for."""

    type: Literal["error"]
    error: ImageErrorObject
