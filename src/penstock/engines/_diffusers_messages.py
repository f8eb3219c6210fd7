"""What the `diffusers` engine and the process that draws for it say to each other.

Each message is MessagePack, tagged by its type, behind its length in four bytes. MessagePack and
not JSON: pictures travel as they are. Both ends are of one version: nothing here is kept.
"""

from typing import Final

import msgspec

LENGTH: Final = 4
"""Bytes of a message's length, little-endian."""


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    pass


# ── to the process that draws ────────────────────────────────────────────────────────────────────


class Open(_Message, frozen=True, kw_only=True):
    """Load a pipeline; what was loaded before is let go of. Answered by `Opened` or `Refused`."""

    source: str
    device: str = "auto"
    dtype: str = "auto"
    variant: str | None = None
    offload: str = "none"
    threads: int | None = None
    download: bool = False


class Draw(_Message, frozen=True, kw_only=True):
    """One run. Answered by `Step`, `Drawn`, `Withheld`, and in the end `Over` or `Broke`.

    `guidance` and `strength`: `None` is the pipeline's own. `width`, `height`: 0 is the model's
    own, or the input's. `previews`: how many; `None` is one each `preview_every` steps, with
    `preview_seconds` at least between two.
    """

    job: int
    model: str
    prompt: str
    negative: str | None = None
    width: int = 0
    height: int = 0
    max_pixels: int = 0
    count: int = 1
    steps: int
    guidance: float | None = None
    sampler: str | None = None
    strength: float | None = None
    seed: int
    picture: bytes = b""
    mask: bytes = b""
    mask_by: str = "luma"
    file_format: str = "png"
    quality: int = 95
    previews: int | None = None
    preview_every: int = 1
    preview_seconds: float = 0.0


class Stop(_Message, frozen=True, kw_only=True):
    """End a run after the step it is in, or before it begins."""

    job: int


Ask = Open | Draw | Stop


# ── from the process that draws ──────────────────────────────────────────────────────────────────


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a loaded pipeline can do.

    `tasks`: of `text`, `image`, `inpaint`. `takes`: of `negative_prompt`, `guidance_scale`,
    `sampler`, `strength`. `multiple`: sides of pictures are multiples of it; `width`, `height`: its
    own size. `samplers`: the names of those that fit it. `steps`: how many each task takes by
    itself.
    """

    kind: str
    tasks: tuple[str, ...]
    takes: frozenset[str]
    multiple: int
    width: int
    height: int
    samplers: tuple[str, ...]
    steps: dict[str, int]
    device: str
    dtype: str


class Opened(_Message, frozen=True, kw_only=True):
    """A pipeline is loaded."""

    facts: Facts


class Refused(_Message, frozen=True, kw_only=True):
    """A pipeline can't be loaded. `memory`: for lack of it."""

    message: str
    memory: bool = False


class Step(_Message, frozen=True, kw_only=True):
    """A step is over: `at` of `of`, over all pictures of the run. `preview` is a JPEG, or empty."""

    job: int
    at: int
    of: int
    preview: bytes = b""


class Drawn(_Message, frozen=True, kw_only=True):
    """A picture is whole. `made_with`: the settings that were used."""

    job: int
    part: int
    data: bytes
    width: int
    height: int
    seed: int
    made_with: dict[str, str | int | float | bool]


class Withheld(_Message, frozen=True, kw_only=True):
    """The model's own safety checker took a picture back."""

    job: int
    part: int


class Over(_Message, frozen=True, kw_only=True):
    """A run has ended: nothing of it computes any more. `nanoseconds`: how long it computed."""

    job: int
    nanoseconds: int = 0


class Broke(_Message, frozen=True, kw_only=True):
    """A run has ended by an error. `memory`: for lack of it. `fatal`: the process ends too."""

    job: int
    message: str
    memory: bool = False
    fatal: bool = False


Report = Opened | Refused | Step | Drawn | Withheld | Over | Broke

_encode: Final = msgspec.msgpack.Encoder().encode
_ask: Final[msgspec.msgpack.Decoder[Ask]] = msgspec.msgpack.Decoder(Ask)
_report: Final[msgspec.msgpack.Decoder[Report]] = msgspec.msgpack.Decoder(Report)


def packed(message: Ask | Report) -> bytes:
    """A message as it travels."""
    data = _encode(message)
    return len(data).to_bytes(LENGTH, "little") + data


def ask_of(data: bytes) -> Ask:
    """A message without its length."""
    return _ask.decode(data)


def reports_of(buffer: bytearray) -> list[Report]:
    """All whole messages, taken out of the buffer."""
    found: list[Report] = []
    begin = 0
    while len(buffer) - begin >= LENGTH:
        end = begin + LENGTH + int.from_bytes(buffer[begin : begin + LENGTH], "little")
        if end > len(buffer):
            break
        found.append(_report.decode(memoryview(buffer)[begin + LENGTH : end]))
        begin = end
    del buffer[:begin]
    return found
