"""What OpenAI-compatible servers send, read as leniently as they write: nulls, gaps, odd types."""

from typing import Final

import msgspec
from msgspec import Raw

NOTHING = Raw(b"null")
_MOST: Final = 2**53


class Function(msgspec.Struct, frozen=True, gc=False):
    """`arguments` is text by the specification, an object at some servers."""

    name: str | None = None
    arguments: Raw = NOTHING


class Call(msgspec.Struct, frozen=True, gc=False):
    """A piece of a tool call, or a whole one."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class ContentPart(msgspec.Struct, frozen=True):
    """Content in parts, as Mistral's reasoning models send it."""

    type: str = ""
    text: str | None = None
    thinking: "list[ContentPart] | str | None" = None


Content = str | list[ContentPart] | None


class Delta(msgspec.Struct, frozen=True):
    """What a choice gains. `message` of a whole answer has the same fields."""

    content: Content = None
    reasoning_content: str | None = None
    reasoning: object = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None


class Logprobs(msgspec.Struct, frozen=True):
    """`content` is the array of the answer's tokens; the rest is the shape of completions."""

    content: Raw = NOTHING
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float | None] | None] | None = None


class Choice(msgspec.Struct, frozen=True):
    """One of the answers. `text` is what it gains in completions."""

    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: object = None
    logprobs: Logprobs | None = None


Number = int | float | None


class InputDetails(msgspec.Struct, frozen=True, gc=False):
    """`prompt_tokens_details`."""

    cached_tokens: Number = None


class OutputDetails(msgspec.Struct, frozen=True, gc=False):
    """`completion_tokens_details`."""

    reasoning_tokens: Number = None


class Counts(msgspec.Struct, frozen=True, gc=False):
    """`usage`. `reasoning_tokens` is flat at Cloud Temple's LLMaaS. Read them with `counted`."""

    prompt_tokens: Number = None
    completion_tokens: Number = None
    reasoning_tokens: Number = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None


def counted(told: Number) -> int | None:
    """A count, where it is one: some servers write 12.0, and no odd one must break an answer."""
    return int(told) if told is not None and 0 <= told <= _MOST else None


class LlamaTimings(msgspec.Struct, frozen=True, gc=False):
    """llama.cpp's `timings`, in milliseconds."""

    prompt_n: int | None = None
    predicted_n: int | None = None
    cache_n: int | None = None
    prompt_ms: float | None = None
    predicted_ms: float | None = None


class Chunk(msgspec.Struct, frozen=True):
    """`chat.completion.chunk`, `chat.completion`, or an error in their place."""

    choices: list[Choice] | None = None
    usage: Counts | None = None
    timings: LlamaTimings | None = None
    error: object = None
    message: object = None
    kind: str | None = msgspec.field(name="object", default=None)
