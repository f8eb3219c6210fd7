"""Which errors a route can answer with: made from all classes, as they are really rendered."""

from collections.abc import Iterator
from typing import Final

import msgspec

from penstock.core import errors as er
from penstock.core.errors import GatewayError
from penstock.core.ports import Answer
from penstock.transports.http.shapes import ErrorShapes
from penstock.wire import json

_ANYWHERE: Final = (
    GatewayError,
    er.InternalError,
    er.InvalidRequestError,
    er.ForbiddenError,
    er.RequestTimeoutError,
    er.HeadersTooLargeError,
)
"""Of the request as such: its headers, its origin, its host; and bugs of ours."""
_OF_BODIES: Final = (er.RequestTooLargeError, er.WrongMediaTypeError)
_OF_ENGINES: Final = (
    er.EngineError,
    er.ModalityError,
    er.InterruptedRunError,
    er.OverloadedError,
)
_NEVER: Final = (er.WrongMethodError, er.ConfigError)
"""A described method is possible; settings are read before there is a route."""


class Possible(msgspec.Struct, frozen=True, kw_only=True):
    """What decides which errors a route has.

    `path`: its template; `open`: it needs no key; `body`: it takes one; `engines`: it reaches
    them; `sessions`: its dialect has some.
    """

    path: str
    open: bool
    body: bool
    engines: bool
    sessions: bool

    def has(self, cls: type[GatewayError]) -> bool:
        """Whether an error of this class can be the answer. A class unknown here can, with a key:
        a new one is shown until somebody knows better.
        """
        if cls in _ANYWHERE:
            return True
        if issubclass(cls, er.UnknownRouteError):
            return "{" in self.path
        if issubclass(cls, _OF_BODIES):
            return self.body
        if self.open or issubclass(cls, _NEVER):
            return False
        if issubclass(cls, er.SessionBusyError):
            return self.sessions
        return self.engines or not issubclass(cls, _OF_ENGINES)


class Shown(msgspec.Struct):
    """One status: what it may mean, an example of each, headers that come with every one of it."""

    meanings: list[str]
    examples: dict[str, object]
    headers: set[str]


def errors(shapes: ErrorShapes, route: Possible) -> dict[int, Shown]:
    """By status."""
    found: dict[int, Shown] = {}
    for cls in er.error_classes():
        if cls.__module__ != GatewayError.__module__ or not route.has(cls):
            continue
        for error in _ways(cls):
            answer = shapes.answer(route.path, error)
            names = {name.lower() for name in answer.headers}
            shown = found.setdefault(answer.status, Shown([], {}, names))
            shown.headers &= names
            shown.examples.setdefault(cls.code, _example(answer))
            meaning = (cls.__doc__ or "").partition("\n")[0]
            if meaning not in shown.meanings:
                shown.meanings.append(meaning)
    return dict(sorted(found.items()))


def _ways(cls: type[GatewayError]) -> Iterator[GatewayError]:
    """A dialect may tell apart who names a field, and who ran."""
    yield cls("what went wrong", param="model")
    yield cls("what went wrong")
    ran = cls("what went wrong")
    ran.ran = True
    yield ran


def _example(answer: Answer) -> object:
    return json.decode(answer.body, object, GatewayError)
