"""Token counts, and who answered, as OpenAI's answers hold them; with LLMaaS' additions."""

from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from penstock.core import events as ev

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
FINISH: Final[dict[ev.FinishReason, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "filtered": "content_filter",
    "cancelled": "stop",
}
"""The API has no word for a cancelled answer: `stop`, and beside it `stop_reason: "cancelled"`."""

_NANOSECONDS: Final = 1e9
_UNTIMED: Final = 1000
"""Nanoseconds a token: what llama.cpp tells of one alone, its clock starts with the first."""


class PromptDetails(msgspec.Struct, frozen=True):
    """Tokens that were in a cache."""

    cached_tokens: int


class CompletionDetails(msgspec.Struct, frozen=True):
    """Tokens that were thought, not said."""

    reasoning_tokens: int


class Usage(msgspec.Struct, frozen=True):
    """Counts. The flat `reasoning_tokens` and `tokens_per_second` are LLMaaS'."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails | UnsetType = UNSET
    completion_tokens_details: CompletionDetails | UnsetType = UNSET
    reasoning_tokens: int | UnsetType = UNSET
    tokens_per_second: float | UnsetType = UNSET


class Backend(msgspec.Struct, frozen=True):
    """LLMaaS': who answered. `machine_name` is the binding's name, never a host's."""

    machine_name: str
    engine_type: str


def usage_of(usage: ev.Usage) -> Usage:
    """Counts in the API's words; what the engine did not count or time is not there."""
    cached, reasoning = usage.cached_tokens, usage.reasoning_tokens
    return Usage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        prompt_tokens_details=UNSET if cached is None else PromptDetails(cached),
        completion_tokens_details=UNSET if reasoning is None else CompletionDetails(reasoning),
        reasoning_tokens=UNSET if reasoning is None else reasoning,
        tokens_per_second=_speed(usage),
    )


def _speed(usage: ev.Usage) -> float | UnsetType:
    """By the engine's own clock; without one there is no true figure."""
    took = usage.timings.generation if usage.timings is not None else 0
    if took <= usage.output_tokens * _UNTIMED or not usage.output_tokens:
        return UNSET
    return round(usage.output_tokens * _NANOSECONDS / took, 2)


def backend_of(start: ev.Start) -> Backend | UnsetType:
    """Not there in a stream whose log does not say which engine it was."""
    return Backend(start.binding, start.engine) if start.engine else UNSET


def stop_reason(reason: ev.FinishReason | None) -> str | UnsetType:
    """vLLM's field, for what `finish_reason` can't say."""
    return "cancelled" if reason == "cancelled" else UNSET
