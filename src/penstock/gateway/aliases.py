"""`[models.ALIAS]`: what an alias adds to a request. Pure."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from penstock.config.schema import Model
from penstock.core.request import Request
from penstock.gateway import personalities

ANY: Final = "*"
"""The alias that answers for every name which nothing else has."""


def with_alias(request: Request, models: Mapping[str, Model]) -> Request:
    """The request with its alias' defaults where it says nothing itself."""
    alias = models.get(ANY if "model" in request.ignored else request.model)
    if alias is None:
        return request
    missing = {
        name: getattr(alias, name)
        for name in ("temperature", "top_p", "max_tokens")
        if getattr(request.sampling, name) is None
    }
    messages = request.messages
    # A raw text is no conversation: it has no place for a system prompt.
    if (
        alias.system
        and not request.raw
        and not any(message.role == "system" for message in messages)
    ):
        messages = personalities.add_system(messages, alias.system)
    return replace(request, sampling=replace(request.sampling, **missing), messages=messages)
