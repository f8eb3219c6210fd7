"""The vocabulary of a token stream: what engines emit, logs keep, dialects render.

A stream is one `Start`, any number of deltas, one terminal (`Done` or `Failed`). These structs are
the format of the log and of the native protocol: fields and types may be added, never renamed.
"""

from typing import Final, Literal, NewType

import msgspec

StreamId = NewType("StreamId", str)
Seq = NewType("Seq", int)
BEGINNING: Final = Seq(0)
FinishReason = Literal["stop", "length", "tool_calls", "filtered", "cancelled"]


class Blob(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Bytes kept once beside the log, named by their content. `size` is in bytes."""

    sha256: str
    media_type: str
    size: int


class Timings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How long the engine itself says it took, in nanoseconds."""

    load: int = 0
    prompt: int = 0
    generation: int = 0


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    pass


class Start(_Event, frozen=True, tag="start", gc=False):
    """Always first. Carries every id and clock value that a dialect may need to render.

    `asked` is the model that the client named, `binding` and `model` are what answers, `engine` is
    the kind of that binding (empty in logs older than it); `created` is in milliseconds since the
    epoch.
    """

    stream: str
    asked: str
    binding: str
    model: str
    created: int
    engine: str = ""


class Progress(_Event, frozen=True, tag="progress"):
    """What happens before and between deltas: a place in a queue, a model that loads, a step.

    `at` of `of`: 1-based place, bytes or steps (of all pictures of a request); 0 when unknown.
    `fetching` a model: `text` is the line to show, `digest` names the file (`sha256:…`), `at` of
    `of` are its bytes.
    """

    what: Literal["queued", "loading", "step", "fetching"]
    at: int = 0
    of: int = 0
    text: str = ""
    digest: str = ""
    preview: Blob | None = None


class TextDelta(_Event, frozen=True, tag="text"):
    """A piece of the answer. Whole characters only. `logprobs` is OpenAI's `content` array."""

    part: int
    text: str
    choice: int = 0
    logprobs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class ReasoningDelta(_Event, frozen=True, tag="reasoning", gc=False):
    """A piece of the model's thinking. `opaque` must be echoed back unchanged on the next turn."""

    part: int
    text: str
    choice: int = 0
    opaque: str | None = None


class ToolCallDelta(_Event, frozen=True, tag="tool_call", gc=False):
    """A piece of one tool call. The first of each part carries `call` (its id) and `name`.

    `arguments` are fragments of one JSON text; joined they are what the model wrote.
    """

    part: int
    call: str
    name: str | None = None
    arguments: str = ""
    choice: int = 0


class Image(_Event, frozen=True, tag="image"):
    """One finished picture. `width`, `height` in pixels; 0 when unknown.

    `prompt`: what the engine drew, where it changed the prompt; `seed`: what draws it again.
    `made_with`: the settings that the engine used (`steps`, `guidance_scale`, `sampler` …).
    """

    part: int
    blob: Blob
    choice: int = 0
    width: int = 0
    height: int = 0
    prompt: str | None = None
    seed: int | None = None
    made_with: dict[str, str | int | float | bool] = {}


class Finish(_Event, frozen=True, tag="finish", gc=False):
    """One of several choices ended; the stream goes on. Only in requests with several choices."""

    choice: int
    reason: FinishReason


class Usage(_Event, frozen=True, tag="usage"):
    """Counts by the engine's own tokenizer. May come more than once: the last one holds.

    `image_tokens`: those of `input_tokens` that pictures took; `images`: how many were made.
    """

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    image_tokens: int | None = None
    images: int | None = None
    timings: Timings | None = None


class Failed(_Event, frozen=True, tag="failed", gc=False):
    """Terminal: the stream broke. `code` is one of `core.errors`.

    `param`: the field of the request that was wrong, where the engine found one.
    """

    code: str
    message: str
    retryable: bool = False
    param: str | None = None


class Done(_Event, frozen=True, tag="done", gc=False):
    """Terminal: the stream is whole, or was cancelled on request (`reason`)."""

    reason: FinishReason


Event = (
    Start
    | Progress
    | TextDelta
    | ReasoningDelta
    | ToolCallDelta
    | Image
    | Finish
    | Usage
    | Failed
    | Done
)
TERMINAL: Final = (Failed, Done)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One event at its place in a stream's log. `seq` counts from 1, `ms` since `Start`."""

    seq: Seq
    ms: int
    event: Event
