"""Schemathesis knows the whole answers; this holds every event and line of a stream to its schema.

It runs in Schemathesis' own environment.
"""

import json
from functools import lru_cache
from typing import Any

import jsonschema_rs
import schemathesis
from schemathesis.checks import CheckContext
from schemathesis.core.transport import Response
from schemathesis.generation.case import Case

SSE, NDJSON = "text/event-stream", "application/x-ndjson"


@schemathesis.check
def stream_items_conformance(ctx: CheckContext, response: Response, case: Case) -> None:
    kind = (response.headers.get("content-type") or [""])[0].partition(";")[0]
    if kind not in (SSE, NDJSON) or response.status_code != 200:
        return
    document = case.operation.schema.raw_schema
    responses = document["paths"][case.operation.path][case.operation.method.lower()]["responses"]
    item = responses["200"]["content"][kind]["itemSchema"]
    for data in lines(kind, response.content):
        wrong = problem(json.dumps(item, sort_keys=True), kind, data, components(document))
        assert wrong is None, f"{data!r}: {wrong}"


def components(document: dict[str, Any]) -> str:
    return json.dumps(document["components"]["schemas"], sort_keys=True)


def lines(kind: str, content: bytes) -> list[str]:
    """The data of every event, or every line. White space before a line is a heartbeat."""
    text = content.decode("ascii")
    if kind == NDJSON:
        return [line for line in text.splitlines() if line.strip()]
    return [line[6:] for line in text.splitlines() if line.startswith("data: ")]


def problem(item: str, kind: str, data: str, known: str) -> str | None:
    """What is wrong with one item, `None` for nothing."""
    schema = json.loads(item)
    texts = schema["anyOf"] if kind == SSE and "anyOf" in schema else [schema]
    if kind == SSE:
        datas = [text["properties"]["data"] for text in texts]
        several = [one for each in datas for one in each.get("anyOf", [each])]
        if any(one.get("const") == data for one in several):
            return None
        texts = [one["contentSchema"] for one in several if "contentSchema" in one]
    checks = [validator(json.dumps(text, sort_keys=True), known) for text in texts]
    if any(check.is_valid(json.loads(data)) for check in checks):
        return None
    return "is none of what is described"


@lru_cache
def validator(schema: str, known: str) -> jsonschema_rs.Draft202012Validator:
    made = {"components": {"schemas": json.loads(known)}, "allOf": [json.loads(schema)]}
    return jsonschema_rs.Draft202012Validator(made)
