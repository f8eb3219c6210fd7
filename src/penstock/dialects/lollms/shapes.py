"""What lollms' clients send. Unknown fields are ignored, `null` is "not given" where it may be."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from penstock.dialects import _thinking
from penstock.dialects._tools import Choice, Tool, null

GenerationType = Literal["ttt", "tti", "ttv", "ttm", "tts", "stt", "i2i", "audio2audio"]
Limit = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Metadata(msgspec.Struct, frozen=True):
    """What a `tool_result` may say about its call; other items may hold anything here."""

    tool_call_id: Raw = msgspec.field(default_factory=null)
    name: Raw = msgspec.field(default_factory=null)
    arguments: Raw = msgspec.field(default_factory=null)


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of `input_data` (2.1 of the project's specification of lollms_server)."""

    type: Literal["text", "image", "audio", "video", "document"]
    role: str
    data: str
    mime_type: str | None = None
    metadata: Metadata | None = None


class Parameters(_thinking.Fields, frozen=True, kw_only=True):
    """The known entries of the free-form `parameters`; `stop_sequences` is another `stop`."""

    max_tokens: Limit | None = None
    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Share | None = None
    repeat_penalty: Annotated[float, Meta(gt=0)] | None = None
    repeat_last_n: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | tuple[str, ...] | None = None
    stop_sequences: str | tuple[str, ...] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    system_message: str | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: Choice | None = None


class PictureParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Those of a request for pictures; each row of names is one setting, the first wins."""

    width: int | None = None
    height: int | None = None
    size: str | None = None
    quality: str | None = None
    style: str | None = None
    negative_prompt: str | None = None
    steps: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    cfg_scale: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    strength: float | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    n: int | None = None


class PictureBody(msgspec.Struct, frozen=True):
    """The body of a request for pictures once more, only for its `parameters`."""

    parameters: PictureParameters | None = None


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /api/v1/generate`: today's `input_data`, or the first version's `prompt`.

    `stream` is a lax boolean, as the original's: `"true"`, `"on"`, 1 …
    """

    input_data: tuple[Item, ...] | None = None
    prompt: str | None = None
    text_prompt: str | None = None
    personality: str | None = None
    binding_name: str | None = None
    model_name: str | None = None
    generation_type: GenerationType = "ttt"
    stream: bool | float | str = False
    parameters: Parameters | None = None
    extra_data: Raw = msgspec.field(default_factory=null)
    functions: tuple[str, ...] | None = None


TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class TokenizeBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `tokenize` and `count_tokens`."""

    text: str
    binding_name: str | None = None
    model_name: str | None = None
    add_bos: bool | None = None
    add_eos: bool | None = None


class DetokenizeBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `detokenize`."""

    tokens: tuple[TokenId, ...]
    binding_name: str | None = None
    model_name: str | None = None


class Named(msgspec.Struct, frozen=True):
    """The same body once more, only for the names of its `parameters`."""

    parameters: dict[str, Raw] | None = None
