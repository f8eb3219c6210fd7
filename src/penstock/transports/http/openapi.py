"""OpenAPI 3.2 of everything that this gateway serves: made of its routes and of what its dialects
say of them. 3.2, because only since then can a stream be described by its items.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from penstock.core.description import Described, Describing
from penstock.core.ports import Answer, Dialect, OnDisconnect, Route
from penstock.gateway.gateway import Gateway
from penstock.transports.http.openapi_errors import Possible
from penstock.transports.http.openapi_operations import Operation, Shared, Types
from penstock.transports.http.openapi_schemas import Schemas
from penstock.transports.http.routing import OURS, OwnedRoute
from penstock.transports.http.shapes import ErrorShapes, PlainError
from penstock.transports.http.visits import Visit
from penstock.wire import json

_PLACE: Final = re.compile(r"\{(\w+)(:path)?\}")
_SUMMARIES: Final[Mapping[str, str]] = {
    "generate": "Generate, streamed or whole",
    "models": "List the models",
    "model": "One model",
    "bindings": "List the bindings",
    "binding_models": "List the models of one binding",
    "personalities": "List the personalities",
    "model_files": "List the models as files",
    "defaults": "The default bindings",
    "health": "Whether the process answers",
    "embed": "Turn texts into vectors",
    "functions": "List the functions that the server runs",
    "tokenize": "A text's tokens",
    "detokenize": "The text of tokens",
    "count_tokens": "How many tokens a text has",
    "model_details": "Everything about one model",
    "loaded_models": "The models in memory",
    "delete_model": "Delete a stored model",
    "copy_model": "Give a stored model another name",
    "has_blob": "Whether a file is there",
    "put_blob": "Upload a file",
    "sessions": "List the sessions",
    "session": "A session's messages",
    "drop_session": "Delete a session",
    "version": "Which version answers",
}
_ASKING_NO_ENGINE: Final = frozenset({"health", "version", "sessions", "session", "drop_session"})
_RENDERED: Final = "/v1/streams/{id}/as/{dialect}"


class OpenApi:
    """`GET /openapi.json`."""

    def __init__(self, gateway: Gateway, shapes: ErrorShapes) -> None:
        self._gateway = gateway
        self._shapes = shapes
        self._routes: tuple[OwnedRoute, ...] = ()
        self._made: tuple[bytes, bytes] | None = None

    def routes(self) -> list[OwnedRoute]:
        """The one."""
        described = Described(told=(dict[str, object],))
        return [
            OwnedRoute(
                "GET", "/openapi.json", OURS, self._answer, "This description", True, described
            )
        ]

    def describe(self, routes: Iterable[OwnedRoute]) -> None:
        """Called once all routes are known."""
        self._routes = tuple(routes)

    async def _answer(self, visit: Visit) -> None:
        """Made when it is first asked for, elsewhere: it takes a tenth of a second."""
        if self._made is None:
            self._made = await asyncio.to_thread(self._make)
        without_keys, with_keys = self._made
        await visit.answer(Answer(200, with_keys if self._gateway.key_required else without_keys))

    def _make(self) -> tuple[bytes, bytes]:
        found = document(self._gateway, self._shapes, self._routes)
        return json.encode(found | {"security": []}), json.encode(found)


def document(
    gateway: Gateway, shapes: ErrorShapes, routes: Iterable[OwnedRoute]
) -> dict[str, object]:
    """The whole description."""
    ours = [r for r in routes if r.owner == OURS and not r.path.endswith("/{name}")]
    types = {d.name: _types_of(d) for d in gateway.dialects}
    types[OURS] = _types(OURS, [r.described for r in ours if r.described], PlainError)
    paths: dict[str, dict[str, object]] = {}
    shared = Shared()
    for dialect in gateway.dialects:
        for route in dialect.routes:
            made = _of_dialect(dialect, route, types, shapes, shared)
            paths.setdefault(_published(route.path), {})[route.method.lower()] = made
    for owned in ours:
        made = _of_ours(owned, gateway.dialects, types, shapes, shared)
        paths.setdefault(_published(owned.path), {})[owned.method.lower()] = made
    components: dict[str, object] = {}
    for each in types.values():
        components |= each.asked.components | each.told.components
    schemes: dict[str, object] = {"bearer": {"type": "http", "scheme": "bearer"}}
    for name in ("x-api-key", "api-key"):
        schemes[name] = {"type": "apiKey", "in": "header", "name": name}
    return {
        "openapi": "3.2.0",
        "info": {
            "title": "Penstock",
            "version": gateway.version,
            "description": "A streaming gateway for language and image models. Every generation "
            "is a durable stream, named by the `Penstock-Stream` header of its response.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": shared.components,
            "securitySchemes": schemes,
        },
        "security": [{name: []} for name in schemes],
    }


def _types_of(dialect: Dialect) -> Types:
    if not isinstance(dialect, Describing):
        return _types(dialect.name, [], None)
    found = dialect.description
    return _types(dialect.name, found.routes.values(), found.error)


def _types(name: str, described: Iterable[Described], error: object) -> Types:
    asked: list[object] = [str, OnDisconnect]
    told: list[object] = [str] if error is None else [str, error]
    for one in described:
        asked += [
            *one.asked,
            *one.form,
            *one.path.values(),
            *one.query.values(),
            *one.headers.values(),
        ]
        told += [*one.told, *one.items, *one.also.values()]
    return Types(
        asked=Schemas(name, asked, written=False),
        told=Schemas(f"{name}.answer", told, written=True),
        error=error,
    )


def _published(path: str) -> str:
    return _PLACE.sub(r"{\1}", path)


def _places(path: str) -> list[str]:
    return [place[1] for place in _PLACE.finditer(path)]


def _owner(path: str, shapes: ErrorShapes) -> str:
    dialect = shapes.owner(path)
    return OURS if dialect is None else dialect.name


def _of_dialect(
    dialect: Dialect,
    route: Route,
    types: Mapping[str, Types],
    shapes: ErrorShapes,
    shared: Shared,
) -> dict[str, object]:
    described = None
    if isinstance(dialect, Describing):
        described = dialect.description.routes.get((route.method, route.path))
    possible = Possible(
        path=route.path,
        open=route.open,
        body=route.method not in ("GET", "HEAD"),
        engines=route.operation not in _ASKING_NO_ENGINE,
        sessions=any(r.operation == "sessions" for r in dialect.routes),
    )
    operation = Operation(
        types[dialect.name],
        shared,
        method=route.method,
        path=_published(route.path),
        owner=dialect.name,
        summary=_SUMMARIES.get(route.operation, route.operation),
    )
    operation.parameters(_places(route.path), described)
    if route.operation == "generate":
        operation.of_streams()
    operation.body(described)
    operation.answers(described)
    operation.errors(possible, shapes, [types[_owner(route.path, shapes)]])
    return operation.made


def _of_ours(
    route: OwnedRoute,
    dialects: Sequence[Dialect],
    types: Mapping[str, Types],
    shapes: ErrorShapes,
    shared: Shared,
) -> dict[str, object]:
    possible = Possible(
        path=route.path,
        open=route.open,
        body=route.method == "POST",
        engines=route.path == _RENDERED,
        sessions=False,
    )
    operation = Operation(
        types[OURS],
        shared,
        method=route.method,
        path=_published(route.path),
        owner=OURS,
        summary=route.summary,
    )
    operation.parameters(_places(route.path), route.described)
    shaped = [types[_owner(route.path, shapes)]]
    if route.path == _RENDERED:
        shaped = list(types.values())
        operation.in_any_dialect(dialects, types)
    else:
        operation.answers(route.described)
    operation.errors(possible, shapes, shaped)
    if route.path == "/metrics":
        operation.made["security"] = [{}, {"bearer": []}, {"x-api-key": []}, {"api-key": []}]
    return operation.made
