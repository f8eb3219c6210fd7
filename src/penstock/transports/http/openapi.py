"""OpenAPI 3.1 of everything that this gateway serves, made from its routes."""

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Final, cast

from penstock.core.errors import (
    GatewayError,
    InternalError,
    InvalidRequestError,
    MissingKeyError,
    NotFoundError,
    OverloadedError,
    RequestTooLargeError,
    UnavailableError,
)
from penstock.core.events import Entry
from penstock.core.ports import Answer, Dialect, Route
from penstock.gateway.gateway import Gateway
from penstock.transports.http.routing import OURS, OwnedRoute
from penstock.transports.http.visits import Visit
from penstock.wire import json
from penstock.wire.native import StreamCancelled, StreamDeleted, StreamList

_PLACE: Final = re.compile(r"\{(\w+)(:path)?\}")
_REF: Final = "#/components/schemas/{name}"
_SHOWN_ERRORS: Final[tuple[GatewayError, ...]] = (
    InvalidRequestError("messages: Field required", param="messages"),
    MissingKeyError("an API key is needed"),
    NotFoundError("no such thing"),
    RequestTooLargeError("the body is larger than 20971520 bytes"),
    OverloadedError("too many generations at once; try again shortly", retry_after=1.0),
    InternalError("internal error; see x-request-id"),
    UnavailableError("not now", retry_after=5.0),
)
_OPERATIONS: Final = {
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
}
_OPEN_PATHS: Final = ("/", "/health", "/ready", "/docs", "/openapi.json")
_QUERY: Final[Mapping[tuple[str, str], Mapping[str, tuple[str, str]]]] = {
    ("GET", "/v1/streams"): {"limit": ("integer", "How many, at most 1000; 50 when not said.")},
    ("GET", "/v1/streams/{id}"): {
        "after": ("integer", "The seq of the last event that the reader has."),
        "speed": ("number", "1 replays with the gaps of the recording; 0, the default, at once."),
    },
    ("GET", "/v1/streams/{id}/as/{dialect}"): {
        "after": ("integer", "The seq of the last event that the reader has."),
        "stream": ("boolean", "False: the whole answer, once it is there."),
    },
}
_BODIES: Final[Mapping[tuple[str, str], type]] = {
    ("GET", "/v1/streams"): StreamList,
    ("POST", "/v1/streams/{id}/cancel"): StreamCancelled,
    ("DELETE", "/v1/streams/{id}"): StreamDeleted,
}
_HEADERS: Final = {
    "Penstock-On-Disconnect": "When this reader is lost: `cancel`, `finish` or `linger`.",
    "Last-Event-ID": "Empty: number the events. `STREAM@seq.n`: go on after that event.",
}


class OpenApi:
    """`GET /openapi.json`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._body = b""

    def routes(self) -> list[OwnedRoute]:
        """All of them."""
        return [OwnedRoute("GET", "/openapi.json", OURS, self._answer, "This description")]

    def describe(self, routes: Iterable[OwnedRoute]) -> None:
        """Makes the document. Called once all routes are known."""
        self._body = json.encode(document(self._gateway, routes))

    async def _answer(self, visit: Visit) -> None:
        await visit.answer(Answer(200, self._body))


def document(gateway: Gateway, routes: Iterable[OwnedRoute]) -> dict[str, object]:
    """The whole description."""
    kinds = [Entry, *_BODIES.values()]
    bodies = {d.name: _request_kinds(d) for d in gateway.dialects}
    for found in bodies.values():
        kinds += found.values()
    _, components = json.schema(list(dict.fromkeys(kinds)), _REF)
    paths: dict[str, dict[str, object]] = {}
    for dialect in gateway.dialects:
        for route in dialect.routes:
            path = paths.setdefault(_published(route.path), {})
            kind = bodies[dialect.name].get(route.path)
            path[route.method.lower()] = _of_dialect(dialect, route, kind)
    for ours in routes:
        if ours.owner == OURS and not ours.path.endswith("/{name}"):
            paths.setdefault(_published(ours.path), {})[ours.method.lower()] = _of_ours(ours)
    schemes: dict[str, object] = {"bearer": {"type": "http", "scheme": "bearer"}}
    for name in ("x-api-key", "api-key"):
        schemes[name] = {"type": "apiKey", "in": "header", "name": name}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock",
            "version": gateway.version,
            "description": "A streaming gateway for language models. Every generation is a "
            "durable stream, named by the `Penstock-Stream` header of its response.",
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": schemes},
        "security": [{name: []} for name in schemes] if gateway.key_required else [],
    }


def _request_kinds(dialect: Dialect) -> Mapping[str, type]:
    """What a dialect says of its bodies: `schemas` in its module, path to struct."""
    module = sys.modules[type(dialect).__module__]
    return cast("Mapping[str, type]", getattr(module, "schemas", {}))


def _published(path: str) -> str:
    return _PLACE.sub(r"{\1}", path)


def _operation(
    method: str, path: str, owner: str, summary: str
) -> tuple[dict[str, object], list[object]]:
    parameters: list[object] = [
        {"name": place[1], "in": "path", "required": True, "schema": {"type": "string"}}
        for place in _PLACE.finditer(path)
    ]
    slug = re.sub(r"\W+", "_", f"{owner}_{method.lower()}_{path}").strip("_")
    found: dict[str, object] = {
        "operationId": slug,
        "tags": [owner],
        "summary": summary,
        "parameters": parameters,
    }
    return found, parameters


def _of_dialect(dialect: Dialect, route: Route, kind: type | None) -> dict[str, object]:
    summary = _OPERATIONS.get(route.operation, route.operation)
    found, parameters = _operation(route.method, route.path, dialect.name, summary)
    if route.open:
        found["security"] = []
    content: dict[str, object] = {"application/json": {}}
    if route.operation == "generate":
        stream = {"schema": {"type": "string"}}
        content |= {"text/event-stream": stream, "application/x-ndjson": stream}
        parameters += [
            {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
            for name, text in _HEADERS.items()
        ]
    if route.method == "POST":
        schema = {"$ref": _REF.format(name=kind.__name__)} if kind is not None else {}
        found["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    found["responses"] = {"200": {"description": "The answer", "content": content}} | {
        status: {"description": text, "content": example}
        for status, text, example in _errors(dialect)
    }
    return found


def _errors(dialect: Dialect) -> list[tuple[str, str, dict[str, object]]]:
    """The errors as this dialect really renders them."""
    found = []
    for error in _SHOWN_ERRORS:
        answer = dialect.error(error)
        example = json.decode(answer.body, object, GatewayError)
        content: dict[str, object] = {answer.content_type: {"example": example}}
        found.append((str(answer.status), type(error).__doc__ or "", content))
    return found


def _of_ours(route: OwnedRoute) -> dict[str, object]:
    found, parameters = _operation(route.method, route.path, route.owner, route.summary)
    if route.path in _OPEN_PATHS:
        found["security"] = []
    key = (route.method, route.path)
    for name, (kind, text) in _QUERY.get(key, {}).items():
        parameters.append(
            {"name": name, "in": "query", "description": text, "schema": {"type": kind}}
        )
    content: dict[str, object] = {}
    if key in _BODIES:
        schema = {"$ref": _REF.format(name=_BODIES[key].__name__)}
        content = {"application/json": {"schema": schema}}
    elif key == ("GET", "/v1/streams/{id}"):
        parameters.append({"name": "Last-Event-ID", "in": "header", "schema": {"type": "integer"}})
        text = "Each `data:` is one Entry, its seq is the `id:`; ends after `done` or `failed`."
        content = {"text/event-stream": {"schema": {"type": "string", "description": text}}}
    found["responses"] = {"200": {"description": route.summary, "content": content}}
    return found
