"""Log probabilities as text completions show them: four lists side by side.

As recorded from OpenAI: `text_offset` counts characters from the beginning of the prompt, echoed
or not; `top_logprobs` holds the likeliest tokens, and the chosen one where it is none of them.
"""

import codecs
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from penstock.core.errors import InternalError
from penstock.core.request import Request
from penstock.wire import json

Byte = Annotated[int, Meta(ge=0, le=255)]


class TokenScore(msgspec.Struct, frozen=True):
    """A token and its log probability. `bytes` are its UTF-8, which may be part of a character."""

    token: str
    logprob: float
    bytes: tuple[Byte, ...] | None = None


class TokenScores(TokenScore, frozen=True):
    """An entry of a chat completion's `logprobs.content`."""

    top_logprobs: tuple[TokenScore, ...] | None = None


class LegacyLogprobs(msgspec.Struct, frozen=True):
    """One entry a token in each list; `top_logprobs` is `null` where none were asked for."""

    tokens: tuple[str, ...]
    token_logprobs: tuple[float, ...]
    top_logprobs: tuple[dict[str, float], ...] | None
    text_offset: tuple[int, ...]


class Offsets:
    """Where the tokens of one choice begin."""

    def __init__(self, request: Request) -> None:
        self._at = len(request.messages[0].text) if request.messages else 0
        self._top = request.sampling.top_logprobs or 0
        self._characters = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def legacy(self, arrays: Sequence[msgspec.Raw]) -> LegacyLogprobs | None:
        """The next tokens: the arrays of one delta, or of a whole answer."""
        found = [score for array in arrays for score in _scores(array)]
        if not found:
            return None
        return LegacyLogprobs(
            tokens=tuple(_name(score) for score in found),
            token_logprobs=tuple(score.logprob for score in found),
            top_logprobs=tuple(self._likeliest(s) for s in found) if self._top else None,
            text_offset=tuple(self._place(score) for score in found),
        )

    def _place(self, score: TokenScores) -> int:
        at = self._at
        text = score.token.encode() if score.bytes is None else bytes(score.bytes)
        self._at += len(self._characters.decode(text))
        return at

    def _likeliest(self, score: TokenScores) -> dict[str, float]:
        top = {_name(one): one.logprob for one in (score.top_logprobs or ())[: self._top]}
        return top | {_name(score): score.logprob}


def _scores(array: msgspec.Raw) -> list[TokenScores]:
    """None where the upstream's tokens have another shape: what was said is told all the same."""
    try:
        return json.decode(bytes(array), list[TokenScores], InternalError)
    except InternalError:
        return []


def _name(score: TokenScore) -> str:
    r"""The token; one that is part of a character as OpenAI writes it, `bytes:\xe2\x9c`."""
    if score.bytes is None:
        return score.token
    try:
        return bytes(score.bytes).decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in score.bytes)
