"""Writes packages/client/src/schema.ts from the description that a gateway gives of itself.

    python tools/typescript_types.py http://127.0.0.1:9601 [--check]

`--check` writes nothing and exits 1 when the file is stale. A test does the same.
"""

import json
import re
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias, cast

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "packages/client/src/schema.ts"
PREFIXES = {
    "penstock.answer.": "",
    "portal_chat.answer.": "Portal",
    "portal_chat.": "Portal",
    "openai_chat.answer.": "OpenAi",
    "openai_chat.": "OpenAi",
}
ROOTS = (
    *("penstock.answer.Entry", "penstock.answer.StreamList", "penstock.answer.StreamCancelled"),
    *("penstock.answer.StreamDeleted", "penstock.answer.Healthy", "openai_chat.ChatBody"),
    *("openai_chat.answer.ModelList", "portal_chat.ChatBody", "portal_chat.SessionBody"),
    *("portal_chat.HistoryBody", "portal_chat.answer.Reply", "portal_chat.answer.Piece"),
    *("portal_chat.answer.Calls", "portal_chat.answer.End", "portal_chat.answer.Trouble"),
    *("portal_chat.answer.History", "portal_chat.answer.Cleared", "portal_chat.answer.Sessions"),
    *("portal_chat.answer.Health", "portal_chat.answer.Detail"),
)
HEAD = """\
// Made by `python tools/typescript_types.py ADDRESS` from a gateway's /openapi.json. Not edited.
// A property with `?` may be absent: then its default holds.
"""
_REFERENCE = "#/components/schemas/"
Json: TypeAlias = "Mapping[str, object]"


def made(document: Json) -> str:
    """The file's text. Raises `KeyError` for a type that the gateway no longer describes."""
    components = cast("Json", document["components"])
    schemas = cast("Mapping[str, Json]", components["schemas"])
    wanted = list(ROOTS)
    for name in wanted:
        wanted += [found for found in _references(schemas[name]) if found not in wanted]
    names = {name: _name(name) for name in wanted}
    if len(set(names.values())) < len(names):
        raise ValueError(f"two schemas have one name: {sorted(names.items())}")
    return "\n".join([HEAD, *(_declared(names[name], schemas[name]) for name in wanted)])


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield str(inner).removeprefix(_REFERENCE)
            elif key != "discriminator":
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _name(schema: str) -> str:
    for prefix, short in PREFIXES.items():
        if schema.startswith(prefix):
            return short + schema.removeprefix(prefix).removeprefix("OpenAi")
    raise ValueError(f"{schema} has no prefix of its own")


def _declared(name: str, schema: Json) -> str:
    lines = [*_comment(schema.get("description"), ""), f"export interface {name} {{"]
    required = cast("list[str]", schema.get("required", []))
    for key, value in cast("Mapping[str, Json]", schema["properties"]).items():
        lines += _comment(value.get("description"), "  ")
        lines.append(f"  {key}{'' if key in required else '?'}: {_type(value)};")
    return "\n".join([*lines, "}\n"])


def _comment(text: object, indent: str) -> list[str]:
    if not text:
        return []
    told = [re.sub(r"^ {4}", "", line).replace("*/", "* /") for line in str(text).splitlines()]
    if len(told) == 1:
        return [f"{indent}/** {told[0]} */"]
    body = [f"{indent} * {line}".rstrip() for line in told]
    return [f"{indent}/**", *body, f"{indent} */"]


def _type(schema: Json) -> str:
    """A schema as a type. What it leaves open is `unknown`."""
    found = "unknown"
    if "$ref" in schema:
        found = _name(str(schema["$ref"]).removeprefix(_REFERENCE))
    elif "anyOf" in schema:
        types = dict.fromkeys(_type(one) for one in cast("list[Json]", schema["anyOf"]))
        found = "unknown" if "unknown" in types else " | ".join(types)
    elif "enum" in schema:
        found = " | ".join(_literal(value) for value in cast("list[object]", schema["enum"]))
    elif "type" in schema:
        found = _of_type(str(schema["type"]), schema)
    return found


def _of_type(name: str, schema: Json) -> str:
    match name:
        case "integer" | "number":
            return "number"
        case "array":
            inner = _type(cast("Json", schema.get("items", {})))
            return f"({inner})[]" if " | " in inner else f"{inner}[]"
        case "object":
            values = schema.get("additionalProperties")
            inner = _type(cast("Json", values)) if isinstance(values, dict) else "unknown"
            return f"{{ [name: string]: {inner} }}"
        case _:
            return name


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def main() -> int:
    """Exit status 1 when `--check` found the file stale."""
    address = sys.argv[1].rstrip("/")
    with urllib.request.urlopen(f"{address}/openapi.json", timeout=30) as answer:
        text = made(json.load(answer))
    if "--check" in sys.argv:
        return 0 if TARGET.is_file() and TARGET.read_text() == text else 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
