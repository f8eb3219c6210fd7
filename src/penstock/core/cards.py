"""What models, bindings and personalities are, as data for listings. Nothing here is a secret."""

from typing import Final, Literal

import msgspec

from penstock.core.request import Modality

BindingState = Literal["starting", "up", "down"]
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999


def known_time(seconds: float) -> int | None:
    """A time that a server told, in whole seconds since the epoch; `None` for one that no listing
    can say: Go's zero time, milliseconds in the place of seconds.
    """
    return int(seconds) if 0 < seconds <= _LAST_SECOND else None


class ModelCard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model that a binding offers. `size` in bytes, `modified` in seconds since the epoch.

    `digest`: the SHA-256 of its file, 64 hexadecimal digits, as far as somebody has read it.
    """

    name: str
    binding: str = ""
    alias_of: str | None = None
    modified: int | None = None
    size: int | None = None
    digest: str | None = None
    quantization: str | None = None
    format: str | None = None
    family: str | None = None
    parameter_size: str | None = None
    context_size: int | None = None
    max_output_tokens: int | None = None
    license: str | None = None
    inputs: tuple[Modality, ...] = ("text",)
    outputs: tuple[Modality, ...] = ("text",)


class BindingCard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One configured engine and how it fares. `trouble` says what to fix when it is down.

    `url` never holds user info or a query.
    """

    name: str
    engine: str
    description: str
    state: BindingState
    trouble: str | None = None
    model: str | None = None
    url: str | None = None
    inputs: tuple[Modality, ...] = ("text",)
    outputs: tuple[Modality, ...] = ("text",)


class Personality(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A system prompt with a name and default parameters, in lollms' vocabulary.

    `parameters` holds `temperature`, `max_tokens`, `top_k`, `top_p`, `repeat_penalty`,
    `repeat_last_n` where the personality sets them. `path` is relative to its folder. `scripted`: a
    script of its own answers. `trouble` says why it is listed but can't be used.
    """

    name: str
    conditioning: str
    author: str = ""
    version: str = ""
    description: str = ""
    category: str = "generic"
    language: str = "english"
    tags: tuple[str, ...] = ()
    icon: str = "default.png"
    path: str = ""
    welcome_message: str = ""
    disclaimer: str = ""
    parameters: dict[str, float] = {}
    scripted: bool = False
    trouble: str | None = None
