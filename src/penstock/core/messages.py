"""What is said to a model: messages and their parts."""

from typing import Literal

import msgspec

from penstock.core.events import Blob

Role = Literal["system", "user", "assistant", "tool"]


class TextPart(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    """Plain text."""

    text: str


class ImagePart(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="image", tag_field="type"
):
    """A picture: an address (`https:` or `data:`), or bytes kept beside the log.

    `at`: the field of the client's body that holds it, for what is said against it.
    """

    url: str | None = None
    blob: Blob | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None
    at: str = ""


Part = TextPart | ImagePart


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the model made. `arguments` is JSON text, exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message. A tool's result has the role `tool` and names its call."""

    role: Role
    parts: tuple[Part, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    reasoning: str | None = None

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return "".join([part.text for part in self.parts if isinstance(part, TextPart)])


def say(role: Role, text: str) -> Message:
    """A message of one text part."""
    return Message(role=role, parts=(TextPart(text),))
