"""What clients of OpenAI's text APIs send. Unknown fields are ignored, `null` is "not given"."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from penstock.dialects._thinking import ExtraBody, TemplateArguments
from penstock.dialects._tools import Choice, Tool, null

Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
Texts = str | tuple[str | int | tuple[int, ...], ...]
"""One text, several, a text's tokens, or those of several texts."""


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Plain text. The breakpoint, here and below, is a hint."""

    text: str
    prompt_cache_breakpoint: Raw = msgspec.field(default_factory=null)


class RefusalPart(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """What an assistant said in place of an answer."""

    refusal: str


class ImageAddress(msgspec.Struct, frozen=True):
    """Where a picture is: `https:` or `data:`."""

    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImageUrlPart(msgspec.Struct, frozen=True, tag_field="type", tag="image_url"):
    """A picture, as OpenAI writes it (some clients send the bare address)."""

    image_url: ImageAddress | str
    prompt_cache_breakpoint: Raw = msgspec.field(default_factory=null)


class ImagePart(msgspec.Struct, frozen=True, tag_field="type", tag="image"):
    """A picture, as LLMaaS' documentation writes it."""

    image: str


class AudioPart(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio"):
    """Sound; refused."""


class AudioUrlPart(msgspec.Struct, frozen=True, tag_field="type", tag="audio_url"):
    """Sound; refused."""


class VideoUrlPart(msgspec.Struct, frozen=True, tag_field="type", tag="video_url"):
    """A film; refused."""


class FilePart(msgspec.Struct, frozen=True, tag_field="type", tag="file"):
    """A file; refused."""


Refused = AudioPart | AudioUrlPart | VideoUrlPart | FilePart
Part = TextPart | RefusalPart | ImageUrlPart | ImagePart | Refused


class CalledFunction(msgspec.Struct, frozen=True):
    """`arguments` is JSON text; nothing at all, where a function takes none."""

    name: str
    arguments: str | None = None


class Call(msgspec.Struct, frozen=True):
    """A call that an assistant made earlier."""

    id: str
    function: CalledFunction


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of `messages`."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | tuple[Part, ...] | None = None
    name: str | None = None
    tool_calls: tuple[Call, ...] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    function_call: Raw = msgspec.field(default_factory=null)
    audio: Raw = msgspec.field(default_factory=null)


class StreamOptions(msgspec.Struct, frozen=True):
    """Wishes for the streamed form."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class SchemaFormat(msgspec.Struct, frozen=True):
    """`response_format.json_schema`."""

    name: str | None = None
    description: str | None = None
    schema: Raw = msgspec.field(default_factory=null)
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, frozen=True):
    """`schema` beside `json_object` is llama.cpp's own short form of `json_schema`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None
    schema: Raw = msgspec.field(default_factory=null)


class Generated(msgspec.Struct, frozen=True, kw_only=True):
    """What both ways to ask for text have. What stands under each name: `_openai_fields`."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Share | None = None
    stop: str | tuple[str, ...] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Share | None = None
    repeat_penalty: Annotated[float, Meta(gt=0)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0)] | None = None
    repeat_last_n: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    user: Raw = msgspec.field(default_factory=null)


class ChatBody(Generated, frozen=True, kw_only=True):
    """The body of `POST /v1/chat/completions`."""

    messages: tuple[ChatMessage, ...]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    enable_thinking: bool | None = None
    chat_template_kwargs: TemplateArguments | None = None
    extra_body: ExtraBody | None = None

    store: Raw = msgspec.field(default_factory=null)
    metadata: Raw = msgspec.field(default_factory=null)
    service_tier: Raw = msgspec.field(default_factory=null)
    safety_identifier: Raw = msgspec.field(default_factory=null)
    prompt_cache_key: Raw = msgspec.field(default_factory=null)
    prompt_cache_options: Raw = msgspec.field(default_factory=null)
    prompt_cache_retention: Raw = msgspec.field(default_factory=null)
    prediction: Raw = msgspec.field(default_factory=null)

    audio: Raw = msgspec.field(default_factory=null)
    modalities: Raw = msgspec.field(default_factory=null)
    functions: Raw = msgspec.field(default_factory=null)
    function_call: Raw = msgspec.field(default_factory=null)
    moderation: Raw = msgspec.field(default_factory=null)
    verbosity: Raw = msgspec.field(default_factory=null)
    web_search_options: Raw = msgspec.field(default_factory=null)
