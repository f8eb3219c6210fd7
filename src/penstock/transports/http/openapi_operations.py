"""One operation of the description: parameters, body, answers, errors."""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import msgspec

from penstock.core.description import Described, Describing
from penstock.core.ports import Dialect, FramingName, OnDisconnect
from penstock.transports.http.openapi_errors import Possible, errors
from penstock.transports.http.openapi_schemas import Schema, Schemas
from penstock.transports.http.shapes import ErrorShapes
from penstock.wire import ndjson

_MEDIA: Final[Mapping[FramingName, str]] = {
    "sse": "text/event-stream",
    "ndjson": ndjson.CONTENT_TYPE,
}
_JSON: Final = "application/json"
_FORM: Final = "multipart/form-data"
_STREAM: Final = {
    "Penstock-Stream": "The stream's id.",
    "Penstock-Ignored": "Hints of the request that were not honoured.",
}


_ALWAYS: Final[Schema] = {"x-request-id": {"required": True, "schema": {"type": "string"}}}
_LINKS: Final[Schema] = {
    name: {
        "operationId": operation,
        "parameters": {"id": "$response.header.Penstock-Stream"},
        "description": text,
    }
    for name, operation, text in (
        ("events", "penstock_get__v1_streams_id", "The stream's events, live and again."),
        ("again", "penstock_get__v1_streams_id_as_dialect", "The same answer, in any dialect."),
        ("cancel", "penstock_post__v1_streams_id_cancel", "Stop it."),
        ("erase", "penstock_delete__v1_streams_id", "Forget it."),
    )
}


class Types(msgspec.Struct, frozen=True, kw_only=True):
    """What a dialect reads and writes, and the type of its errors, where it says so."""

    asked: Schemas
    told: Schemas
    error: object


class Shared:
    """Responses that many operations have, each once; `components` by name."""

    def __init__(self) -> None:
        self.components: dict[str, object] = {}

    def reference(self, name: str, response: object) -> object:
        """A reference to `response`. Another of the same name gets a number."""
        known, n = name, 1
        while self.components.setdefault(known, response) != response:
            n += 1
            known = f"{name}.{n}"
        return {"$ref": f"#/components/responses/{known}"}


class Operation:
    """Filled part by part; `made` is the result."""

    def __init__(
        self, types: Types, shared: Shared, *, method: str, path: str, owner: str, summary: str
    ) -> None:
        self._types = types
        self._shared = shared
        self._owner = owner
        self._silent = method == "HEAD"
        self._parameters: list[object] = []
        self._responses: dict[str, object] = {}
        slug = re.sub(r"\W+", "_", f"{owner}_{method.lower()}_{path}").strip("_")
        self.made: dict[str, object] = {
            "operationId": slug,
            "tags": [owner],
            "summary": summary,
            "parameters": self._parameters,
            "responses": self._responses,
        }

    def parameters(self, places: Iterable[str], described: Described | None) -> None:
        """Those of the path, then those that the route names."""
        described = described or Described()
        for name in places:
            self._parameter("path", name, self._types.asked.of(described.path.get(name, str)))
        for name, kind in described.query.items():
            self._parameter("query", name, self._types.asked.of(kind))
        for name, kind in described.headers.items():
            self._parameter("header", name, self._types.asked.of(kind))

    def of_streams(self) -> None:
        """The headers of a request that begins a stream, or comes back to one."""
        policy = self._types.asked.of(OnDisconnect)
        text = "When the last reader is lost."
        self._parameter("header", "Penstock-On-Disconnect", policy, text)
        event: Schema = {"type": "string", "pattern": r"^$|^[^@]+@[0-9]{1,18}\.[0-9]{1,9}$"}
        text = "Empty: number the events. `STREAM@seq.n`: go on after that event; starts nothing."
        self._parameter("header", "Last-Event-ID", event, text)

    def _parameter(self, where: str, name: str, schema: object, text: str = "") -> None:
        made: Schema = {"name": name, "in": where, "schema": schema}
        if where == "path":
            made["required"] = True
        if text:
            made["description"] = text
        self._parameters.append(made)

    def body(self, described: Described | None) -> None:
        """What is sent."""
        if described is None or not described.asked:
            return
        if bytes in described.asked:
            content: Schema = {"application/octet-stream": {}}
        else:
            media: Schema = {"schema": self._types.asked.any_of(described.asked)}
            if described.example:
                media["example"] = described.example
            content = {_JSON: media}
        if described.form:
            content[_FORM] = {"schema": self._types.asked.any_of(described.form)}
        self.made["requestBody"] = {"required": True, "content": content}

    def answers(self, described: Described | None) -> None:
        """What comes back when all goes well."""
        if described is None:
            self._respond(200, "The answer", {_JSON: {}})
            return
        self._respond(described.status, "The answer", _content(described, self._types.told))
        for status, kind in described.also.items():
            content: Schema = {_JSON: {"schema": self._types.told.of(kind)}} if kind else {}
            self._respond(status, HTTPStatus(status).phrase, content)

    def in_any_dialect(self, dialects: Sequence[Dialect], types: Mapping[str, Types]) -> None:
        """As any dialect would have answered a generation."""
        content: dict[str, list[object]] = {}
        for dialect in dialects:
            for one in _generating(dialect):
                for media, made in _content(one, types[dialect.name].told).items():
                    known = content.setdefault(media, [])
                    if made not in known:
                        known.append(made)
        self._respond(200, "The answer", {m: _merged(made) for m, made in content.items()})

    def errors(self, possible: Possible, shapes: ErrorShapes, types: Sequence[Types]) -> None:
        """Every status that there may be besides, with the real answers as examples."""
        if possible.open:
            self.made["security"] = []
        kinds = [t.told.of(t.error) for t in types if t.error is not None]
        for status, shown in errors(shapes, possible).items():
            media: Schema = {"examples": {n: {"value": v} for n, v in shown.examples.items()}}
            if kinds:
                media["schema"] = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
            known = self._responses.get(str(status))
            if known is None:
                required = shown.headers if len(types) == 1 else set()
                made = self._response(" ".join(shown.meanings), {_JSON: media}, required)
                name = f"{self._owner}.{status}"
                self._responses[str(status)] = self._shared.reference(name, made)

    def _respond(self, status: int, text: str, content: Schema) -> None:
        made = self._response(text, content, ())
        if any(media in content for media in _MEDIA.values()):
            string: Schema = {"schema": {"type": "string"}}
            headers = {n: {"description": text, **string} for n, text in _STREAM.items()}
            made["headers"] = {**_ALWAYS, **headers}
            made["links"] = _LINKS
        self._responses[str(status)] = made

    def _response(self, text: str, content: Schema, required: Iterable[str]) -> Schema:
        headers = dict(_ALWAYS)
        for name in sorted(required):
            headers[name] = {"required": True, "schema": {"type": "string"}}
        made: Schema = {"description": text, "headers": headers}
        if content and not self._silent:
            made["content"] = content
        return made


def _generating(dialect: Dialect) -> list[Described]:
    if not isinstance(dialect, Describing):
        return []
    known = dialect.description.routes
    routes = [(r.method, r.path) for r in dialect.routes if r.operation == "generate"]
    return [known[route] for route in routes if route in known]


def _content(described: Described, told: Schemas) -> Schema:
    content: Schema = {}
    if described.told:
        content[_JSON] = {"schema": told.any_of(described.told)}
    for media in described.texts:
        content[media] = {"schema": {"type": "string"}} if media.startswith("text/") else {}
    if described.items:
        item = told.any_of(described.items)
        if described.framing == "sse":
            item = _event(item, described.last)
        content[_MEDIA[described.framing]] = {"itemSchema": item}
    return content


def _event(item: object, last: str) -> Schema:
    """A server-sent event: its data is text that holds JSON."""
    data: Schema = {
        "type": "string",
        "contentMediaType": _JSON,
        "contentSchema": item,
    }
    if last:
        data = {"anyOf": [{"const": last}, data]}
    return {"type": "object", "required": ["data"], "properties": {"data": data}}


def _merged(several: Sequence[object]) -> object:
    """One media type of several dialects."""
    if len(several) == 1:
        return several[0]
    found: dict[str, list[object]] = {}
    for one in several:
        if isinstance(one, dict):
            for name, schema in one.items():
                found.setdefault(name, []).append(schema)
    return {name: {"anyOf": schemas} for name, schemas in found.items()}
