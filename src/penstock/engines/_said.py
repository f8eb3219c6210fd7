"""What an upstream says went wrong: its own words, out of the shapes in which servers wrap them."""

import re
from collections.abc import Callable
from typing import Final

import msgspec

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
_LONGEST_NAME: Final = 80
_RATE: Final = ("rate_limit", "overloaded", "insufficient_quota", "too_many_requests")
_REFUSED: Final = {"invalid_request_error", "400", "401", "403", "authentication_error"}
_NAMES: Final = ("error", "message", "detail", "msg", "error_message", "error_description")
_CONTROL: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class _Blame(msgspec.Struct, frozen=True):
    param: str | None = None


class _Blaming(msgspec.Struct, frozen=True):
    error: _Blame


def unmasked(text: str) -> str:
    """For upstreams that know no secret of ours."""
    return text


def words(body: bytes, mask: Mask = unmasked) -> str:
    """The message in an error body: OpenAI's, Ollama's, FastAPI's or plain text; one short line."""
    try:
        return message(json.decode(body, object, EngineProtocolError), mask)
    except EngineProtocolError:
        text = body.decode(errors="replace")
        # A page is for eyes: its markup would say nothing here.
        return "" if text.lstrip().startswith("<") else _line(text, mask)


def param(body: bytes) -> str | None:
    """The field that an error body blames, in the shape of OpenAI's."""
    try:
        found = json.decode(body, _Blaming, EngineProtocolError).error.param
    except EngineProtocolError:
        return None
    return found if found and found.isprintable() and len(found) <= _LONGEST_NAME else None


def message(value: object, mask: Mask = unmasked) -> str:
    """The same for a value that is already decoded."""
    if isinstance(value, str):
        return _line(value, mask)
    if isinstance(value, list):
        return "; ".join(found for found in (message(item, mask) for item in value[:4]) if found)
    if not isinstance(value, dict):
        return ""
    for name in _NAMES:
        found = message(value.get(name), mask)
        if found:
            # Automatic1111 and its kin: the exception's class, and its words in `errors`.
            more = value.get("errors") if name == "error" else None
            return _line(f"{found}: {more}", mask) if isinstance(more, str) and more else found
    return ""


def failure(value: object, mask: Mask = unmasked) -> Failed:
    """An error object that came within a stream, as the stream's end."""
    kinds: set[str] = set()
    if isinstance(value, dict):
        kinds = {str(value.get(name)).lower() for name in ("type", "code", "status")}
    error: type[EngineError | OverloadedError] = EngineError
    if "429" in kinds or any(rate in kind for kind in kinds for rate in _RATE):
        error = OverloadedError
    elif kinds & _REFUSED:
        error = EngineRefusedError
    said = message(value, mask) or "it gave no reason"
    return Failed(
        code=error.code, message=f"the upstream failed: {said}", retryable=error.retryable
    )


def _line(text: str, mask: Mask) -> str:
    # Masked before it is cut: half a key is still too much.
    text = _CONTROL.sub(" ", mask(text)).strip()
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
