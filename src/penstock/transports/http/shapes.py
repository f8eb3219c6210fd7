"""Errors in the shape that a path's clients understand: the longest prefix decides."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

import msgspec

from penstock.core.errors import (
    GatewayError,
    OverloadedError,
    UnavailableError,
    WrongMethodError,
)
from penstock.core.ports import Answer, Dialect
from penstock.transports.http.routing import collapsed
from penstock.wire import json

_PAGE: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>{status}</title>"
    "<h1>{status}</h1><p>{message}</p>"
)


class Told(msgspec.Struct, frozen=True):
    """What went wrong."""

    message: str


class PlainError(msgspec.Struct, frozen=True):
    """The body of an error where no dialect has its own; a page for who accepts `text/html`."""

    error: Told


class ErrorShapes:
    """All dialects' prefixes, longest first."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        prefixes = [(prefix, dialect) for dialect in dialects for prefix in dialect.prefixes]
        self._prefixes = sorted(prefixes, key=lambda pair: -len(pair[0]))

    def answer(self, path: str, error: GatewayError, accept: str = "") -> Answer:
        """The error as a whole response. Adds `Allow` and `Retry-After` where they are due."""
        dialect = self.owner(path)
        answer = _plain(error, accept) if dialect is None else dialect.error(error)
        due = _due_headers(error)
        known = {name.lower() for name in answer.headers}
        missing = {name: value for name, value in due.items() if name not in known}
        if not missing:
            return answer
        return msgspec.structs.replace(answer, headers={**answer.headers, **missing})

    def owner(self, path: str) -> Dialect | None:
        """The dialect whose shape the errors of a path have; `None`: our own."""
        path = collapsed(path)
        for prefix, dialect in self._prefixes:
            if path == prefix or path.startswith(prefix.rstrip("/") + "/"):
                return dialect
        return None


def _plain(error: GatewayError, accept: str) -> Answer:
    if "text/html" in accept:
        page = _PAGE.format(status=error.status, message=escape(error.message))
        return Answer(error.status, page.encode(), "text/html; charset=utf-8")
    return Answer(error.status, json.encode(PlainError(Told(error.message))))


def _due_headers(error: GatewayError) -> dict[str, str]:
    if isinstance(error, WrongMethodError):
        return {"allow": ", ".join(error.allow)}
    if isinstance(error, OverloadedError | UnavailableError) or error.retry_after is not None:
        usual = 1.0 if isinstance(error, OverloadedError) else 5.0
        seconds = usual if error.retry_after is None else error.retry_after
        return {"retry-after": str(max(1, math.ceil(seconds)))}
    return {}
