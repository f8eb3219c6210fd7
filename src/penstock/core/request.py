"""What is asked of an engine, independent of who asked and in which dialect."""

from operator import attrgetter
from typing import Literal

import msgspec
from msgspec.structs import astuple

from penstock.core.messages import ImagePart, Message

Modality = Literal["text", "image", "audio", "video"]
Effort = Literal["none", "minimal", "low", "medium", "high"]
ToolMode = Literal["none", "auto", "required"]
Task = Literal["generate", "pull", "create"]


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to sample. `None` means: as the engine does by default."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A function that the model may call. `parameters` is its JSON schema."""

    name: str
    description: str | None = None
    parameters: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether a tool must be called; `name` picks one."""

    mode: ToolMode = "auto"
    name: str | None = None


class ReplyFormat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the answer must be: any JSON object, or JSON that obeys `schema`."""

    kind: Literal["json_object", "json_schema"]
    schema: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ImageAsk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What pictures are to be like. `None` means: as the engine does by default.

    `size`: width and height in pixels. `count`: how many pictures. `inputs`: pictures to start
    from; `mask`: where they are to be drawn anew, the size of the first input. `mask_by`: an
    `alpha` mask is transparent there, a `luma` mask white. `strength`: from 0, the input as it is,
    to 1, nothing of it. `compression`: 0 to 100, of JPEG and WebP. `previews`: how many pictures
    of the work in progress the client wants; `None` as many as there are.
    """

    size: tuple[int, int] | None = None
    count: int = 1
    quality: str | None = None
    style: str | None = None
    negative_prompt: str | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    strength: float | None = None
    background: str | None = None
    file_format: Literal["png", "jpeg", "webp"] | None = None
    compression: int | None = None
    moderation: str | None = None
    input_fidelity: str | None = None
    previews: int | None = None
    inputs: tuple[ImagePart, ...] = ()
    mask: ImagePart | None = None
    mask_by: Literal["alpha", "luma"] = "luma"


class Fetch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to pull or create under the request's `model`.

    `source`: for `create` the model, GGUF path or `hf.co/…` it is made from; for `pull` empty.
    `files`: names to `sha256:…` of uploaded blobs. `parameters`: Ollama's option names.
    """

    source: str = ""
    files: dict[str, str] = {}
    system: str = ""
    template: str = ""
    license: str = ""
    parameters: dict[str, bool | float | int | str | list[str]] = {}


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One generation. The head of its stream in the log, so it never holds a key.

    `model`: as the client named it; empty means the default. `binding`, `personality`: lollms' own
    choice of who answers; `own_system`: the client's system prompt replaces the personality's.
    `freeform`: `[defaults]` fill what is not said, and sampling parameters that the binding can't
    use are ignored by name instead of refused. `stream` and `include_usage` are wishes of the first
    reader, kept so that the stream can be rendered tomorrow as it was today; `legacy` marks lollms'
    old `prompt` form, `plain` one that takes its whole answer as bare text. `form`: the dialect's
    own note on which of its shapes was asked for; the gateway never reads it. `ignored`: published
    hints that were not honoured, named in the answer. `effort_hint`: how the client spelled
    `effort`, where that is only a hint (`enable_thinking`): an engine that can't be told to think
    or not to think runs the request without it.

    `raw`: the text of the only message goes to the model as it is, without a chat template, and
    `suffix` is what is to come after the answer. `continues`: the id of one's own stream, whose
    request and reply come before `messages`. `session`: an id of the client's choosing; the
    session's history comes before `messages`, and a first system message is the new session's.
    `functions`: functions of the server's own that the model may call and the server runs.
    `work`: what a task other than `generate` needs. `image`: of a request for pictures, whose
    prompt is the text of `messages`.
    """

    model: str = ""
    messages: tuple[Message, ...] = ()
    modality: Modality = "text"
    sampling: Sampling = Sampling()
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reply_format: ReplyFormat | None = None
    effort: Effort | None = None
    effort_hint: str = ""
    choices: int = 1
    binding: str | None = None
    personality: str | None = None
    own_system: bool = False
    freeform: bool = False
    stream: bool = False
    include_usage: bool = False
    legacy: bool = False
    plain: bool = False
    form: str = ""
    raw: bool = False
    suffix: str | None = None
    continues: str | None = None
    session: str | None = None
    functions: tuple[str, ...] = ()
    task: Task = "generate"
    work: Fetch | None = None
    image: ImageAsk | None = None
    ignored: tuple[str, ...] = ()


_ASKED_OF_EVERY_PAINTER = frozenset({"count", "previews", "mask_by"})
IMAGE_FEATURES = frozenset(ImageAsk.__struct_fields__) - _ASKED_OF_EVERY_PAINTER | {"seed"}
"""What an engine that makes pictures may be able to honour."""


def prompt(request: Request) -> str:
    """The text of a request for pictures."""
    return "\n\n".join(m.text for m in request.messages if m.role == "user" and m.text)


def _image_features(request: Request) -> frozenset[str]:
    asked = request.image or ImageAsk()
    found = {name for name in IMAGE_FEATURES - {"seed"} if getattr(asked, name) not in (None, ())}
    return frozenset(found | ({"seed"} if request.sampling.seed is not None else set()))


_OPTIONAL = ("tools", "tool_choice", "reply_format", "effort", "raw", "suffix")
_optional = attrgetter(*_OPTIONAL)
_SAMPLING_FIELDS = Sampling.__struct_fields__


def features(request: Request) -> frozenset[str]:
    """The names of everything in this request that an engine must be able to honour.

    `max_tokens`, messages and streaming are asked of every engine and are not named.
    """
    if request.modality == "image":
        return _image_features(request)
    sampling = zip(_SAMPLING_FIELDS, astuple(request.sampling), strict=True)
    found = {name for name, asked in sampling if asked is not None and asked != ()}
    found.discard("max_tokens")
    for name, asked in zip(_OPTIONAL, _optional(request), strict=True):
        if asked:
            found.add(name)
    if request.parallel_tool_calls is False:
        # Several at once is what every API does by default: no more than leave.
        found.add("parallel_tool_calls")
    if request.choices > 1:
        found.add("choices")
    if _has_images(request.messages):
        found.add("images")
    return frozenset(found)


def _has_images(messages: tuple[Message, ...]) -> bool:
    for message in messages:
        for part in message.parts:
            if isinstance(part, ImagePart):
                return True
    return False
