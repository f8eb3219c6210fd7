"""What Ollama's clients send (Ollama's API document, types of ollama-python 0.6)."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw

from penstock.dialects._tools import Tool, null
from penstock.wire import json

Text = Annotated[str, Meta(min_length=1)]


_MOST: Final = 2**31 - 1
"""Ollama's options are handed to llama.cpp, whose numbers have 32 bits."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`options`, as far as they are honoured."""

    num_predict: Annotated[int, Meta(ge=-_MOST, le=_MOST)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=_MOST)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0)] | None = None
    repeat_last_n: Annotated[int, Meta(ge=-1, le=_MOST)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None


Tuning = Annotated[
    dict[str, Raw],
    Meta(
        description="Those that are not named here are hints, or refused.",
        extra_json_schema={"properties": json.properties(Options)},
    ),
]
HINTED_OPTIONS: Final = (
    "num_ctx",
    "num_keep",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "num_thread",
    "numa",
    "low_vram",
    "f16_kv",
    "logits_all",
    "vocab_only",
    "use_mmap",
    "use_mlock",
    "embedding_only",
    "penalize_newline",
    "mirostat_tau",
    "mirostat_eta",
)
"""Options about how a model is loaded, which is the binding's own configuration here."""
REFUSED_OPTIONS: Final = {"mirostat": (0,), "tfs_z": (0, 1), "typical_p": (0, 1)}
"""Options that would change the answer, and the values that ask for nothing."""
HINTED: Final = ("keep_alive", "truncate", "shift", "width", "height", "steps")
"""Fields that are hints here: for how long a model stays, what to do with a prompt that is too long
(it is refused), the size of a picture."""


class CalledFunction(msgspec.Struct, frozen=True):
    """The function of a call; `arguments` is an object, or the text of one."""

    name: Text
    arguments: Raw = msgspec.field(default_factory=null)


class Called(msgspec.Struct, frozen=True):
    """A call in the conversation."""

    function: CalledFunction
    id: str | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One message of `/api/chat`."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: tuple[str, ...] | None = None
    tool_calls: tuple[Called, ...] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class Common(msgspec.Struct, frozen=True, kw_only=True):
    """What `/api/generate` and `/api/chat` share.

    Ollama's own client, which is written in Go, sends `""` for most of what is not given.
    """

    model: Text
    stream: bool | None = None
    format: Raw = msgspec.field(default_factory=null)
    options: Tuning | None = None
    think: bool | str | None = None
    keep_alive: float | str | None = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    debug_render_only: bool | None = msgspec.field(default=None, name="_debug_render_only")


class Generate(Common, frozen=True, kw_only=True):
    """The body of `/api/generate`. `width`, `height`, `steps` are for models that draw."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: tuple[int, ...] | None = None
    raw: bool | None = None
    images: tuple[str, ...] | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None


class Chat(Common, frozen=True, kw_only=True):
    """The body of `/api/chat`."""

    messages: tuple[Said, ...] | None = None
    tools: tuple[Tool, ...] | None = None


class Embed(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `/api/embed`; without `input` it loads the model."""

    model: Text
    input: str | tuple[str, ...] | None = None
    truncate: bool | None = None
    dimensions: Annotated[int, Meta(ge=0)] | None = None
    options: dict[str, Raw] | None = None
    keep_alive: float | str | None = None


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """The body of the older `/api/embeddings`; without `prompt` it loads the model."""

    model: Text
    prompt: str | None = None
    options: dict[str, Raw] | None = None
    keep_alive: float | str | None = None


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `/api/show` and `/api/delete`; older clients say `name`."""

    model: str | None = None
    name: str | None = None
    verbose: bool | None = None


class Pull(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `/api/pull`; older clients say `name`."""

    model: str | None = None
    name: str | None = None
    stream: bool | None = None
    insecure: bool | None = None


class Create(msgspec.Struct, frozen=True, kw_only=True, rename={"source": "from"}):
    """The body of `/api/create`."""

    model: str | None = None
    name: str | None = None
    stream: bool | None = None
    source: str | None = None
    files: dict[str, str] | None = None
    adapters: dict[str, str] | None = None
    template: str | None = None
    license: str | tuple[str, ...] | None = None
    system: str | None = None
    parameters: dict[str, bool | float | int | str | list[str] | None] | None = None
    messages: tuple[Said, ...] | None = None
    quantize: str | None = None
    quantization: str | None = None
    modelfile: str | None = None
    path: str | None = None
    renderer: str | None = None
    parser: str | None = None
    remote_host: str | None = None
    requires: str | None = None
    info: dict[str, Raw] | None = None


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `/api/copy`."""

    source: Text
    destination: Text
