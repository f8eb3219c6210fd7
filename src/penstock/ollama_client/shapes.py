"""What programs are given, and the JSON that it is read from (Ollama's API document)."""

from dataclasses import dataclass

import msgspec


@dataclass
class ModelResponse:
    """A whole answer. After a failure `text` holds what had arrived and `error` says why.

    `status_code` is that of HTTP, `None` where no answer came. `done` is always true.
    """

    text: str
    success: bool
    error: str | None = None
    status_code: int | None = None
    done: bool = True


@dataclass
class StreamChunk:
    """A piece of an answer. The last one, also that of a failure, has `done`."""

    text: str
    done: bool
    error: str | None = None


@dataclass
class ModelInfo:
    """A model that the server offers. `size` is in bytes, `modified` as the server writes it."""

    name: str
    size: int | str | None = None
    modified: str | None = None


class Said(msgspec.Struct):
    """The message of a line of `/api/chat`."""

    content: str | None = None


class Line(msgspec.Struct):
    """One line of `/api/generate` or `/api/chat`, or the whole of an answer in one piece."""

    response: str | None = None
    message: Said | None = None
    done: bool | None = None
    error: str | dict[str, object] | None = None

    @property
    def text(self) -> str:
        """What it adds to the answer."""
        if self.response is not None:
            return self.response
        return (self.message and self.message.content) or ""

    @property
    def trouble(self) -> str | None:
        """What the server says went wrong; never empty, which would look like nothing."""
        if isinstance(self.error, dict):
            return str(self.error.get("message") or self.error)
        return "the server gave no reason" if self.error == "" else self.error


class Tag(msgspec.Struct):
    """One model of `/api/tags`."""

    name: str
    size: int | str | None = None
    modified_at: str | None = None


class Tags(msgspec.Struct):
    """The answer of `GET /api/tags`."""

    models: list[Tag] | None = None
