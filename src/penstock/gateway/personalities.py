"""Who speaks: a personality's system prompt and parameters, merged by lollms' rules. Pure.

Low to high: `[defaults]`, the personality, the request (lollms_server's `core/generation.py`). The
system prompt is the request's own context, a blank line, then the personality's conditioning.
"""

from collections.abc import Mapping

import msgspec

from penstock.config.schema import Defaults
from penstock.core.cards import Personality
from penstock.core.errors import UnknownPersonalityError
from penstock.core.messages import Message, say
from penstock.core.request import Request

_WHOLE = frozenset({"max_tokens", "top_k", "repeat_last_n"})


def apply(
    request: Request, personalities: Mapping[str, Personality], defaults: Defaults
) -> Request:
    """The request as it is to run. An unknown personality is an error, in a legacy request a
    note.
    """
    if request.personality:
        found = personalities.get(request.personality)
        request = _with(request, found) if found is not None else _without(request)
    if request.freeform and request.sampling.max_tokens is None:
        request = _fill(request, {"max_tokens": defaults.default_max_output_tokens})
    return request


def _without(request: Request) -> Request:
    if not request.legacy:
        raise UnknownPersonalityError(
            f"no personality named {request.personality!r}", param="personality"
        )
    ignored = (*request.ignored, "personality")
    return msgspec.structs.replace(request, personality=None, ignored=ignored)


def _with(request: Request, personality: Personality) -> Request:
    request = _fill(request, personality.parameters)
    if request.own_system or not personality.conditioning:
        return request
    return msgspec.structs.replace(
        request, messages=add_system(request.messages, personality.conditioning)
    )


def _fill(request: Request, parameters: Mapping[str, float]) -> Request:
    wanted = {
        name: int(value) if name in _WHOLE else value
        for name, value in parameters.items()
        if getattr(request.sampling, name) is None
    }
    if not wanted:
        return request
    sampling = msgspec.structs.replace(request.sampling, **wanted)
    return msgspec.structs.replace(request, sampling=sampling)


def add_system(messages: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    """The messages with `text` at the end of their system prompt, which may not exist yet."""
    if messages and messages[0].role == "system":
        first = say("system", f"{messages[0].text}\n\n{text}" if messages[0].text else text)
        return (first, *messages[1:])
    return (say("system", text), *messages)
