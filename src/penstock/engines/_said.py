"""What an upstream says went wrong: its own words, out of the shapes in which servers wrap them."""

import re
from collections.abc import Callable
from typing import Final

from penstock.core.errors import (
    EngineError,
    EngineProtocolError,
    EngineRefusedError,
    OverloadedError,
)
from penstock.core.events import Failed
from penstock.wire import json

Mask = Callable[[str], str]
_LONGEST: Final = 600
_RATE: Final = ("rate_limit", "overloaded", "insufficient_quota", "too_many_requests")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def unmasked(text: str) -> str:
    """For upstreams that know no secret of ours."""
    return text


def words(body: bytes) -> str:
    """The message in an error body: OpenAI's, Ollama's, FastAPI's or plain text; one short line."""
    try:
        return message(json.decode(body, object, EngineProtocolError))
    except EngineProtocolError:
        text = body.decode(errors="replace")
        # A page is for eyes: its markup would say nothing here.
        return "" if text.lstrip().startswith("<") else _line(text)


def message(value: object) -> str:
    """The same for a value that is already decoded."""
    if isinstance(value, str):
        return _line(value)
    if isinstance(value, list):
        return "; ".join(found for found in map(message, value[:4]) if found)
    if not isinstance(value, dict):
        return ""
    for name in ("error", "message", "detail", "msg", "error_message", "error_description"):
        found = message(value.get(name))
        if found:
            return found
    return ""


def failure(value: object, mask: Mask = unmasked) -> Failed:
    """An error object that came within a stream, as the stream's end."""
    kinds: set[str] = set()
    if isinstance(value, dict):
        kinds = {str(value.get(name)).lower() for name in ("type", "code", "status")}
    error: type[EngineError | OverloadedError] = EngineError
    if "429" in kinds or any(rate in kind for kind in kinds for rate in _RATE):
        error = OverloadedError
    elif kinds & {"invalid_request_error", "400", "401", "403", "authentication_error"}:
        error = EngineRefusedError
    said = mask(message(value)) or "it gave no reason"
    return Failed(
        code=error.code, message=f"the upstream failed: {said}", retryable=error.retryable
    )


def _line(text: str) -> str:
    text = _CONTROL.sub(" ", text).strip()
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
