"""Logprobs of completions as those of chat: one object a token."""

from penstock.engines._openai_shapes import Logprobs
from penstock.wire import json


def legacy_content(told: Logprobs) -> bytes:
    """The `content` array of chat completions for the parallel lists of completions.

    From "Completions, logprobs" in OpenAI's API reference. A probability that is not told (the
    first token of an echoed prompt has none) leaves its token out. `bytes` are those of the text:
    the lists hold no others.
    """
    odds = told.token_logprobs or []
    tops = told.top_logprobs or []
    found: list[dict[str, object]] = []
    for n, token in enumerate(told.tokens or []):
        logprob = odds[n] if n < len(odds) else None
        if logprob is None:
            continue
        top = (tops[n] if n < len(tops) else None) or {}
        likeliest = [_token(text, odd) for text, odd in top.items() if odd is not None]
        found.append({**_token(token, logprob), "top_logprobs": likeliest})
    return json.encode(found)


def _token(text: str, logprob: float) -> dict[str, object]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode(errors="replace"))}
