"""Every field that a published version of OpenAI's text APIs has, and what becomes of it here.

The documentation's tables are checked against these. A name that is not in one is not that API's:
it is ignored without a word.
"""

from typing import Final, Literal, Self

import msgspec
from msgspec import Raw

from penstock.core.errors import InvalidRequestError, UnsupportedParameterError
from penstock.dialects._tools import NULL, given
from penstock.wire import json

Use = Literal["honoured", "hint", "refused"]


class Field(msgspec.Struct, frozen=True):
    """One field. `idle` are values of a refused field that ask for nothing out of the ordinary."""

    name: str
    use: Use
    note: str
    idle: tuple[object, ...] = ()


class Table(tuple[Field, ...]):
    """The fields of one API. Those that are not honoured are looked at for every request."""

    refused: tuple[Field, ...]
    hints: tuple[Field, ...]

    def __new__(cls, *fields: Field) -> Self:
        """`fields` in the order of the documentation."""
        self = super().__new__(cls, fields)
        self.refused = tuple(field for field in fields if field.use == "refused")
        self.hints = tuple(field for field in fields if field.use == "hint")
        return self


_GENERATED: Final = (
    Field("model", "honoured", "a name, an alias; absent, empty or `default`: the default model"),
    Field("stream", "honoured", "server-sent events"),
    Field("stream_options", "honoured", "`include_usage`; `include_obfuscation` is a hint"),
    Field("temperature", "honoured", "0 to 2"),
    Field("top_p", "honoured", "0 to 1"),
    Field("stop", "honoured", "a string or a list of them"),
    Field("seed", "honoured", "a 64-bit integer"),
    Field("presence_penalty", "honoured", "-2 to 2"),
    Field("frequency_penalty", "honoured", "-2 to 2"),
    Field("logit_bias", "honoured", "token id to -100 … 100"),
    Field("n", "honoured", "1 to 128"),
    Field("top_k", "honoured", "extension of llama.cpp and vLLM; -1 is 0 (off)"),
    Field("min_p", "honoured", "extension of llama.cpp and vLLM; 0 to 1"),
    Field("repeat_penalty", "honoured", "extension of llama.cpp; above 0"),
    Field("repetition_penalty", "honoured", "vLLM's name of `repeat_penalty`"),
    Field("repeat_last_n", "honoured", "extension of llama.cpp"),
    Field("user", "hint", ""),
)
CHAT: Final = Table(
    Field("messages", "honoured", "see below"),
    *_GENERATED,
    Field("max_tokens", "honoured", "1 or more"),
    Field("max_completion_tokens", "honoured", "wins over `max_tokens`"),
    Field("logprobs", "honoured", ""),
    Field("top_logprobs", "honoured", "0 to 20, with `logprobs`"),
    Field("tools", "honoured", "of type `function`; other types are refused"),
    Field("tool_choice", "honoured", "`none`, `auto`, `required`, one function, `allowed_tools`"),
    Field("parallel_tool_calls", "honoured", "with `tools`"),
    Field("response_format", "honoured", "`text`, `json_object`, `json_schema`"),
    Field("reasoning_effort", "honoured", "`none` to `high`; `xhigh` and `max` are refused"),
    Field("enable_thinking", "honoured", "extension; see below"),
    Field("chat_template_kwargs", "honoured", "extension; see below; its other keys are ignored"),
    Field("extra_body", "honoured", "the two before it, from clients that do not merge it"),
    Field("store", "hint", "every stream is in the log anyway, for its own retention"),
    Field("metadata", "hint", ""),
    Field("service_tier", "hint", ""),
    Field("safety_identifier", "hint", ""),
    Field("prompt_cache_key", "hint", ""),
    Field("prompt_cache_options", "hint", ""),
    Field("prompt_cache_retention", "hint", ""),
    Field("prediction", "hint", "only ever makes an answer faster"),
    Field("audio", "refused", "no engine speaks"),
    Field("modalities", "refused", 'but for `["text"]`', (["text"], [])),
    Field("functions", "refused", "deprecated; use `tools`", ([],)),
    Field("function_call", "refused", "deprecated; use `tool_choice`", ("none", "auto")),
    Field("moderation", "refused", ""),
    Field("verbosity", "refused", "but for `medium`, its default", ("medium",)),
    Field("web_search_options", "refused", ""),
)
"""Of `POST /v1/chat/completions`."""

COMPLETIONS: Final = Table(
    Field("prompt", "honoured", "a text, or a list of one; several, and tokens, are refused"),
    *_GENERATED,
    Field("max_tokens", "honoured", "1 or more; 16 when not given, as published"),
    Field("suffix", "honoured", "what comes after the answer; empty is none"),
    Field("echo", "honoured", "the prompt before the answer; refused together with `logprobs`"),
    Field("logprobs", "honoured", "0 to 5: how many besides the chosen token"),
    Field("best_of", "refused", "but for 1, its default", (1,)),
)
"""Of `POST /v1/completions`, with a `prompt`."""

EMBEDDINGS: Final = Table(
    Field("model", "honoured", "a name, an alias; absent, empty or `default`: the default model"),
    Field("input", "honoured", "a text or up to 2048 of them; token arrays are refused"),
    Field("dimensions", "honoured", "1 or more; refused by models that can't shorten"),
    Field("encoding_format", "honoured", "`float` or `base64` (little-endian 32-bit floats)"),
    Field("user", "hint", ""),
)
"""Of `POST /v1/embeddings`."""


def refuse(body: msgspec.Struct, table: Table) -> None:
    """Raises `UnsupportedParameterError` for a refused field that asks for something."""
    for field in table.refused:
        raw = getattr(body, field.name)
        if not _given(raw):
            continue
        if json.decode(bytes(raw), object, InvalidRequestError) in field.idle:
            continue
        why = f" ({field.note})" if field.note else ""
        raise UnsupportedParameterError(f"{field.name} is not supported{why}", param=field.name)


def ignored(body: msgspec.Struct, table: Table) -> tuple[str, ...]:
    """The names of the hints that were given."""
    return tuple([field.name for field in table.hints if _given(getattr(body, field.name))])


def model_name(asked: str | None) -> str:
    """The model as `Request.model` has it: empty for the default one."""
    return "" if asked in (None, "default") else asked


def _given(value: object) -> bool:
    return value is not NULL and isinstance(value, Raw) and given(value)
