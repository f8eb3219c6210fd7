"""Method and path to whoever answers: built once from all dialects' routes and our own."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import msgspec

from penstock.core.description import Described
from penstock.core.errors import ConfigError, UnknownRouteError, WrongMethodError
from penstock.transports.http.visits import Visit

Endpoint = Callable[[Visit], Awaitable[None]]

OURS: Final = "penstock"
"""The owner of the routes that belong to no dialect."""

_PLACE: Final = re.compile(r"\{(\w+)(:path)?\}")
_SLASHES: Final = re.compile(r"//+")


class OwnedRoute(msgspec.Struct, frozen=True):
    """One route and its owner: a dialect's name, or `OURS`.

    `{name}` in a template matches one path segment, `{name:path}` the rest of the path.
    `open`: answered without a key. `described`: for the description, of our own routes; those of
    a dialect are described by it.
    """

    method: str
    path: str
    owner: str
    endpoint: Endpoint
    summary: str = ""
    open: bool = False
    described: Described | None = None


class Match(msgspec.Struct, frozen=True):
    """What a request asks for."""

    route: OwnedRoute
    params: Mapping[str, str]


class _Template(msgspec.Struct, frozen=True):
    pattern: re.Pattern[str]
    routes: dict[str, OwnedRoute]


class Table:
    """All routes. Raises `ConfigError` when two of them answer the same request."""

    def __init__(self, routes: Iterable[OwnedRoute]) -> None:
        self.routes = tuple(routes)
        self._exact: dict[str, dict[str, OwnedRoute]] = {}
        templates: dict[str, _Template] = {}
        for route in self.routes:
            shape = _shape(route.path)
            if shape == route.path:
                known = self._exact.setdefault(shape, {})
            else:
                known = templates.setdefault(shape, _Template(_pattern(route.path), {})).routes
            if route.method in known:
                raise _clash(route, known[route.method])
            known[route.method] = route
        # Literal text first: `/a/{x}/b` before `/a/{x:path}`.
        self._templates = sorted(
            templates.values(), key=lambda t: (".*" in t.pattern.pattern, -len(t.pattern.pattern))
        )
        self._check_between_owners()

    def find(self, method: str, path: str) -> Match:
        """Raises `UnknownRouteError`, or `WrongMethodError` with those that there are.

        Doubled slashes collapse, but for those inside an id at the path's end.
        """
        routes, params = self._at(path)
        if routes is None:
            raise UnknownRouteError(f"no route {method} {path[:200]}")
        route = routes.get(method) or (routes.get("GET") if method == "HEAD" else None)
        if route is None:
            raise WrongMethodError(f"{method} is not possible here", allow=_allow(routes))
        return Match(route, params)

    def allowed(self, path: str) -> tuple[str, ...]:
        """The methods of a path; none when there is no such path."""
        routes, _ = self._at(path)
        return _allow(routes) if routes is not None else ()

    def _at(self, path: str) -> tuple[dict[str, OwnedRoute] | None, Mapping[str, str]]:
        routes = self._exact.get(path)
        if routes is None and "//" in path:
            routes = self._exact.get(collapsed(path))
        if routes is not None:
            return routes, {}
        for template in self._templates:
            found = template.pattern.fullmatch(path)
            if found is not None:
                return template.routes, found.groupdict()
        return None, {}

    def _check_between_owners(self) -> None:
        for template in self._templates:
            for taker in template.routes.values():
                for route in self.routes:
                    foreign = route.owner != taker.owner and route.method == taker.method
                    sample = _PLACE.sub("x", route.path)
                    if foreign and template.pattern.fullmatch(sample):
                        raise _clash(route, taker)


def collapsed(path: str) -> str:
    """Without doubled slashes."""
    return _SLASHES.sub("/", path)


def _shape(path: str) -> str:
    return _PLACE.sub(lambda place: "{*}" if place[2] else "{}", path)


def _pattern(path: str) -> re.Pattern[str]:
    parts: list[str] = []
    end = 0
    for place in _PLACE.finditer(path):
        parts.append(re.escape(path[end : place.start()]).replace("/", "/+"))
        # An id may hold doubled slashes, but what precedes it takes all that it can.
        parts.append(f"(?P<{place[1]}>{'[^/].*' if place[2] else '[^/]+'})")
        end = place.end()
    parts.append(re.escape(path[end:]).replace("/", "/+"))
    return re.compile("".join(parts), re.DOTALL)


def _allow(routes: Mapping[str, OwnedRoute]) -> tuple[str, ...]:
    methods = set(routes) | {"OPTIONS"} | ({"HEAD"} if "GET" in routes else set())
    return tuple(sorted(methods))


def _clash(new: OwnedRoute, old: OwnedRoute) -> ConfigError:
    return ConfigError(
        f"{new.method} {new.path} of {new.owner} clashes with {old.path} of {old.owner}"
    )
