"""Writes docs/dialects/support.md, the table of what each dialect can say, from the golden vectors.

A cell is `yes` only when a vector shows it, `refused` only when a rejected body shows that, `no
field` only when a body that says it nevertheless is read as if it had not, and `left out` only when
a vector has the event and the answer has no trace of it. A cell with no evidence is an error.

    python tools/support.py [--check]
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from penstock import registry
from penstock.core import events as ev
from penstock.core.errors import ConfigError, GatewayError
from penstock.core.ports import Call, Dialect
from penstock.core.request import Request, features
from penstock.testing.cases import DialectVector, dialect_vectors, streamed
from penstock.wire import json, pictures

ROOT: Final = Path(__file__).parents[1]
VECTORS: Final = ROOT / "tests/vectors"
PAGE: Final = ROOT / "docs/dialects/support.md"
HEAD: Final = """\
# What each dialect can say

<!-- Made by `python tools/support.py` from the golden vectors in tests/vectors. -->

Every cell is backed by a test: **yes** by a golden vector, **refused** by a request that is
answered with an error which names the field, **no field** by a request that says it nevertheless
and is read as if it had not, **left out** by a stream that has it and an answer without a trace of
it.
"""


class Claim(msgspec.Struct, frozen=True):
    """A body and the feature that it speaks of."""

    body: msgspec.Raw
    feature: str = ""
    code: str = ""
    path: str = ""


def _asks(name: str) -> Callable[[Request], bool]:
    return lambda request: name in features(request)


ASKED: Final[Mapping[str, Callable[[Request], bool]]] = {
    "system prompt": lambda r: any(m.role == "system" for m in r.messages),
    "pictures": _asks("images"),
    "tools": _asks("tools"),
    "tool choice": _asks("tool_choice"),
    "tools' results": lambda r: any(m.role == "tool" for m in r.messages),
    "JSON object": lambda r: r.reply_format is not None and r.reply_format.kind == "json_object",
    "JSON by a schema": lambda r: (
        r.reply_format is not None and r.reply_format.kind == "json_schema"
    ),
    "thinking off": lambda r: r.effort == "none",
    "thinking effort": lambda r: r.effort not in (None, "none"),
    "temperature, top_p": lambda r: (
        r.sampling.temperature is not None and r.sampling.top_p is not None
    ),
    "top_k": _asks("top_k"),
    "stop": _asks("stop"),
    "seed": _asks("seed"),
    "max_tokens": lambda r: r.sampling.max_tokens is not None,
    "penalties": lambda r: (
        r.sampling.presence_penalty is not None and r.sampling.frequency_penalty is not None
    ),
    "logprobs asked for": _asks("logprobs"),
    "several choices asked for": _asks("choices"),
    "prompt without a template": _asks("raw"),
    "suffix": _asks("suffix"),
    "session": lambda r: r.session is not None,
    "personality": lambda r: r.personality is not None,
    "functions of the server": lambda r: bool(r.functions),
    "pictures to be made": lambda r: r.modality == "image",
    "their size": lambda r: r.image is not None and r.image.size is not None,
    "several of them": lambda r: r.image is not None and r.image.count > 1,
    "steps, guidance, what not to draw": lambda r: (
        r.image is not None
        and r.image.steps is not None
        and r.image.guidance_scale is not None
        and r.image.negative_prompt is not None
    ),
    "pictures to start from": lambda r: r.image is not None and bool(r.image.inputs),
    "a mask": lambda r: r.image is not None and r.image.mask is not None,
}
"""What a request may ask for."""

SAID: Final = (
    "text",
    "reasoning",
    "a tool call",
    "several tool calls",
    "several choices",
    "logprobs",
    "usage",
    "progress",
    "a picture",
    "a preview of one",
    "end: stop",
    "end: length",
    "end: tool calls",
    "end: filtered",
    "end: cancelled",
    "end: failed",
)
"""What a stream may say."""


def spoken(vector: DialectVector) -> dict[str, list[bytes]]:
    """What the stream of a vector says, each with traces that an answer would have."""
    found: dict[str, list[bytes]] = {}
    calls: dict[int, bytes] = {}
    for entry in vector.entries():
        if isinstance(entry.event, ev.ToolCallDelta) and entry.event.name:
            calls[entry.event.part] = entry.event.name.encode()
        for feature, traces in _traces(entry.event):
            found.setdefault(feature, []).extend(traces)
        for feature, blob in _pictures(entry.event):
            found.setdefault(feature, []).extend(_picture_traces(vector, blob))
    if calls:
        found["a tool call"] = list(calls.values())
    if len(calls) > 1:
        found["several tool calls"] = list(calls.values())
    return found


def _traces(event: ev.Event) -> Iterable[tuple[str, list[bytes]]]:
    match event:
        case ev.TextDelta(text=text, choice=choice, logprobs=logprobs):
            yield "several choices" if choice else "text", [_inner(text)]
            if logprobs is not msgspec.UNSET:
                yield "logprobs", [b'logprob":', b'token_logprobs":[']
        case ev.ReasoningDelta(text=text):
            yield "reasoning", [_inner(text)]
        case ev.Usage(input_tokens=read, output_tokens=written):
            yield "usage", [b":%d" % (read + written), b":%d" % written]
        case ev.Progress(text=text, what=what):
            # A letter is found anywhere.
            yield "progress", [_inner(text) if len(text) > 2 else what.encode()]
        case ev.Done(reason=reason):
            yield f"end: {reason.replace('_', ' ')}", [b""]
        case ev.Failed(message=message):
            yield "end: failed", [_inner(message)]
        case _:
            pass


def _pictures(event: ev.Event) -> Iterable[tuple[str, ev.Blob]]:
    if isinstance(event, ev.Image):
        yield "a picture", event.blob
    if isinstance(event, ev.Progress) and event.preview is not None:
        yield "a preview of one", event.preview


def _picture_traces(vector: DialectVector, blob: ev.Blob) -> list[bytes]:
    """Its base64, or its address."""
    file = vector.folder / "blobs" / blob.sha256
    address = [f"/{blob.sha256}?".encode()]
    return [pictures.base64(file.read_bytes()), *address] if file.exists() else address


def _inner(text: str) -> bytes:
    return json.encode(text)[1:-1]


def cell(traces: list[bytes], answers: Iterable[bytes]) -> str:
    """Whether an answer has a trace of what its stream says."""
    for answer in answers:
        if any(trace in re.sub(rb":\s+", b":", answer) for trace in traces):
            return "yes"
    return "left out"


def said_table(dialect: Dialect) -> dict[str, tuple[str, str]]:
    """Feature to its cells, streamed and whole; an empty one has no evidence."""
    found = dict.fromkeys(SAID, ("", ""))
    for vector in dialect_vectors(VECTORS, dialect.name):
        if vector.read("events.jsonl") is None:
            continue
        stream = [] if vector.read("response.body") is None else [streamed(dialect, vector)]
        whole = [data for name in ("whole.json", "whole.txt") if (data := vector.read(name))]
        for feature, traces in spoken(vector).items():
            before = found.get(feature, ("", ""))
            now = (
                cell(traces, stream) if stream else "",
                cell(traces, [re.sub(rb"\s+", b" ", data) for data in whole]) if whole else "",
            )
            found[feature] = (_better(before[0], now[0]), _better(before[1], now[1]))
    return {feature: found[feature] for feature in SAID}


def _better(one: str, other: str) -> str:
    return "yes" if "yes" in (one, other) else one or other


def asked_table(dialect: Dialect) -> dict[str, str]:
    """Feature to its cell."""
    found = dict.fromkeys(ASKED, "")
    for vector in dialect_vectors(VECTORS, dialect.name):
        if vector.read("refused.json") is not None or vector.read("elsewhere.json") is not None:
            continue
        request = dialect.parse(vector.call(dialect))
        if isinstance(request, Request):  # On such a route Ollama's clients also load a model.
            found |= {name: "yes" for name, asks in ASKED.items() if asks(request)}
    for claim in claims("rejected", dialect.name):
        if claim.feature and not found[claim.feature]:
            found[claim.feature] = "refused"
    for claim in claims("absent", dialect.name):
        if not found[claim.feature]:
            found[claim.feature] = "no field"
    return found


def claims(kind: str, dialect: str) -> list[Claim]:
    """`tests/vectors/KIND/DIALECT.json`."""
    path = VECTORS / kind / f"{dialect}.json"
    return json.decode(path.read_bytes(), list[Claim], ConfigError) if path.exists() else []


def dialects() -> list[Dialect]:
    """Those that generate."""
    found = [
        registry.load("dialects", name).Dialect() for name in sorted(registry.names("dialects"))
    ]
    return [d for d in found if any(route.operation == "generate" for route in d.routes)]


def page() -> tuple[str, list[str]]:
    """The page, and every cell that has no evidence."""
    speakers = dialects()
    gaps: list[str] = []
    lines = [HEAD, "## What a request may ask for", "", _row(["", *(d.name for d in speakers)])]
    lines.append(_row(["---"] * (len(speakers) + 1)))
    asked = {d.name: asked_table(d) for d in speakers}
    for feature in ASKED:
        cells = [asked[d.name][feature] for d in speakers]
        gaps += [f"{d.name}: {feature}" for d, c in zip(speakers, cells, strict=True) if not c]
        lines.append(_row([feature, *cells]))
    lines += ["", "## What an answer can say", "", "Streamed / whole.", ""]
    lines.append(_row(["", *(d.name for d in speakers)]))
    lines.append(_row(["---"] * (len(speakers) + 1)))
    said = {d.name: said_table(d) for d in speakers}
    for feature in SAID:
        row = [feature]
        for d in speakers:
            stream, whole = said[d.name][feature]
            gaps += [f"{d.name}: {feature}, streamed"] if not stream else []
            gaps += (
                [f"{d.name}: {feature}, whole"] if not whole and feature != "end: failed" else []
            )
            row.append(stream if stream == whole else f"{stream} / {whole or 'HTTP error'}")
        lines.append(_row(row))
    return "\n".join(lines) + "\n", gaps


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def wrong_claims() -> list[str]:
    """Claims of no field that are not so."""
    found = []
    for dialect in dialects():
        for claim in claims("absent", dialect.name):
            route = next(
                route
                for route in dialect.routes
                if route.operation == "generate" and (not claim.path or route.path == claim.path)
            )
            try:
                request = dialect.parse(Call(route, {}, {}, {}, bytes(claim.body)))
            except GatewayError as error:
                found.append(f"{dialect.name}: {claim.feature}: refused: {error.message}")
                continue
            assert isinstance(request, Request)
            if ASKED[claim.feature](request):
                found.append(f"{dialect.name}: {claim.feature}: it is read")
    return found


def main() -> int:
    """Writes or checks; says what is missing."""
    text, gaps = page()
    wrong = [f"no evidence: {gap}" for gap in gaps] + wrong_claims()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != text:
            wrong.append("docs/dialects/support.md is stale: python tools/support.py")
    else:
        PAGE.write_text(text)
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
