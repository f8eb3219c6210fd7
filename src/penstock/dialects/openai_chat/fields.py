"""Every field that a published version of the chat API has, and what becomes of it here.

The documentation's table is checked against this one. A name that is not in it is not the API's:
it is ignored without a word.
"""

from typing import Final, Literal

import msgspec

Use = Literal["honoured", "hint", "refused"]


class Field(msgspec.Struct, frozen=True):
    """One field. `idle` are values of a refused field that ask for nothing out of the ordinary."""

    name: str
    use: Use
    note: str
    idle: tuple[object, ...] = ()


FIELDS: Final = (
    Field("model", "honoured", "a name, an alias; absent, empty or `default`: the default model"),
    Field("messages", "honoured", "see below"),
    Field("stream", "honoured", "server-sent events"),
    Field("stream_options", "honoured", "`include_usage`; `include_obfuscation` is a hint"),
    Field("max_tokens", "honoured", "1 or more"),
    Field("max_completion_tokens", "honoured", "wins over `max_tokens`"),
    Field("temperature", "honoured", "0 to 2"),
    Field("top_p", "honoured", "0 to 1"),
    Field("stop", "honoured", "a string or a list of them"),
    Field("seed", "honoured", "a 64-bit integer"),
    Field("presence_penalty", "honoured", "-2 to 2"),
    Field("frequency_penalty", "honoured", "-2 to 2"),
    Field("logit_bias", "honoured", "token id to -100 … 100"),
    Field("logprobs", "honoured", ""),
    Field("top_logprobs", "honoured", "0 to 20, with `logprobs`"),
    Field("n", "honoured", "1 to 128"),
    Field("tools", "honoured", "of type `function`; other types are refused"),
    Field("tool_choice", "honoured", "`none`, `auto`, `required`, or one function"),
    Field("parallel_tool_calls", "honoured", "with `tools`"),
    Field("response_format", "honoured", "`text`, `json_object`, `json_schema`"),
    Field("reasoning_effort", "honoured", "`none` to `high`; `xhigh` and `max` are refused"),
    Field("top_k", "honoured", "extension of llama.cpp and vLLM; -1 is 0 (off)"),
    Field("min_p", "honoured", "extension of llama.cpp and vLLM; 0 to 1"),
    Field("repeat_penalty", "honoured", "extension of llama.cpp; above 0"),
    Field("repetition_penalty", "honoured", "vLLM's name of `repeat_penalty`"),
    Field("repeat_last_n", "honoured", "extension of llama.cpp"),
    Field("user", "hint", ""),
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
HINTS: Final = tuple(field.name for field in FIELDS if field.use == "hint")
REFUSED: Final = tuple(field for field in FIELDS if field.use == "refused")
