"""Golden vectors of dialects: what is asked, what happens, what is answered.

`tests/vectors/dialects/DIALECT/CASE/` holds

- `call.json`: method, path, headers and query of the request, and `request.body`, its body;
- `request.json`: what the dialect makes of it;
- `events.jsonl`: the stream, one entry a line;
- `response.body`: the bytes of the streamed answer, framing included;
- `whole.json` or `whole.txt`: the body of the answer that is not streamed;
- `elsewhere.json`: the request of a stream of another dialect, told in this one;
- `blobs/SHA256`: the bytes of a picture that an answer shows, in base64;
- `source.txt`: where the wire form was published or captured. It is never made by our encoder.

A question has `query.json`, what the dialect makes of it, `found.json`, what the gateway found
(without the query), and `answer.json`, the body of the answer; none where it has no body. One about
vectors may have `embedded.json`, what an engine found, instead. A request that is refused has
`refused.json`: the error's code, and the field that it names.

What a case does not show, it leaves out. `tests/vectors/errors/DIALECT.json` has the answer to each
error, `tests/vectors/rejected/DIALECT.json` bodies that are refused and the field to name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from typing_extensions import override

from penstock.core.errors import (
    ConfigError,
    GatewayError,
    WrongMethodError,
    error_classes,
)
from penstock.core.events import Entry
from penstock.core.folding import fold
from penstock.core.ports import Answer, Call, Dialect, Encoder, Frame, FramingName, Route
from penstock.core.queries import Embedded, Found, Query
from penstock.core.request import Request
from penstock.testing.pictures import filled
from penstock.wire import json, ndjson, sse

# ── vectors ──────────────────────────────────────────────────────────────────────────────────────


class Asked(msgspec.Struct, frozen=True):
    """`call.json`."""

    method: str = "POST"
    path: str = ""
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    status: int = 200


def _default_of(field: msgspec.structs.FieldInfo) -> object:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return msgspec.field(default_factory=field.default_factory)


_Given = msgspec.defstruct(
    "_Given",
    [
        (field.name, field.type, _default_of(field))
        for field in msgspec.structs.fields(Found)
        if field.name != "query"
    ],
)


class DialectVector(msgspec.Struct, frozen=True):
    """One case of one dialect."""

    dialect: str
    folder: Path

    @override
    def __str__(self) -> str:
        return f"{self.dialect}/{self.folder.name}"

    def read(self, name: str) -> bytes | None:
        """A file of the case, if it has it."""
        file = self.folder / name
        return file.read_bytes() if file.exists() else None

    def call(self, dialect: Dialect) -> Call:
        """The request, routed as the transport would."""
        return routed(dialect, self.asked(), self.read("request.body") or b"")

    def request(self, dialect: Dialect) -> Request:
        """The request as the dialect reads it, or as another did."""
        elsewhere = self.read("elsewhere.json")
        if elsewhere is not None:
            return json.decode(elsewhere, Request, ConfigError)
        found = dialect.parse(self.call(dialect))
        assert isinstance(found, Request), f"{self}: no generation"
        return found

    def query(self, dialect: Dialect) -> Query:
        """The question as the dialect reads it."""
        found = dialect.parse(self.call(dialect))
        assert isinstance(found, Query), f"{self}: no question"
        return found

    def asked(self) -> Asked:
        """`call.json`."""
        return json.decode(self.read("call.json") or b"", Asked, ConfigError)

    def found(self, query: Query) -> Found | None:
        """What the gateway found, if the case says so."""
        embedded, found = self.read("embedded.json"), self.read("found.json")
        if embedded is not None:
            return Found(query=query, embedded=json.decode(embedded, Embedded, ConfigError))
        if found is None:
            return None
        given = json.decode(found, _Given, ConfigError)
        return Found(query=query, **msgspec.structs.asdict(given))

    def entries(self) -> list[Entry]:
        """The stream."""
        lines = (self.read("events.jsonl") or b"").splitlines()
        return [json.decode(line, Entry, ConfigError) for line in lines]


def dialect_vectors(root: Path, dialect: str = "*") -> list[DialectVector]:
    """Every case below `root` (`tests/vectors`), of one dialect or of all."""
    calls = sorted(root.glob(f"dialects/{dialect}/*/call.json"))
    return [DialectVector(call.parent.parent.name, call.parent) for call in calls]


def routed(dialect: Dialect, asked: Asked, body: bytes) -> Call:
    """A call of the route that fits."""
    for route in dialect.routes:
        path = _path(route, asked)
        if path is not None:
            return Call(route, path, asked.query, asked.headers, body)
    raise AssertionError(f"{asked.method} {asked.path}: no route of {dialect.name}")


def _path(route: Route, asked: Asked) -> Mapping[str, str] | None:
    pattern = re.sub(r"\\{(\w+):path\\}", r"(?P<\1>.+)", re.escape(route.path))
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", pattern)
    found = re.fullmatch(pattern, asked.path)
    return found.groupdict() if found and route.method == asked.method else None


class Refusal(msgspec.Struct, frozen=True):
    """`refused.json`."""

    code: str
    param: str | None = None


class Rejection(msgspec.Struct, frozen=True):
    """A body that is refused: with which code, naming which field."""

    body: msgspec.Raw
    code: str
    param: str | None = None


def rejections(root: Path, dialect: str) -> list[Rejection]:
    """`tests/vectors/rejected/DIALECT.json`."""
    data = (root / "rejected" / f"{dialect}.json").read_bytes()
    return json.decode(data, list[Rejection], ConfigError)


class ErrorAnswer(msgspec.Struct, frozen=True):
    """An error, and the answer that it becomes."""

    code: str
    status: int
    body: msgspec.Raw
    headers: dict[str, str] = {}
    message: str = "what went wrong"
    param: str | None = None
    retry_after: float | None = None
    allow: tuple[str, ...] = ()

    def error(self) -> GatewayError:
        """The error itself."""
        if self.code == WrongMethodError.code:
            return WrongMethodError(self.message, allow=self.allow)
        cls = next(cls for cls in plain_classes() if cls.code == self.code)
        return cls(self.message, param=self.param, retry_after=self.retry_after)


def error_answers(root: Path, dialect: str) -> list[ErrorAnswer]:
    """`tests/vectors/errors/DIALECT.json`."""
    data = (root / "errors" / f"{dialect}.json").read_bytes()
    return json.decode(data, list[ErrorAnswer], ConfigError)


def plain_classes() -> list[type[GatewayError]]:
    """All error classes that are made of a message."""
    return [cls for cls in error_classes() if cls is not WrongMethodError]


# ── rendering, as a gateway does it ──────────────────────────────────────────────────────────────


def render(encoder: Encoder, entries: Iterable[Entry]) -> list[tuple[str, Frame]]:
    """All frames, each with its cursor `seq.n`."""
    return [
        (f"{entry.seq}.{n}", frame)
        for entry in entries
        for n, frame in enumerate(encoder.feed(entry))
    ]


def render_after(
    encoder: Encoder, entries: Iterable[Entry], cursor: str
) -> list[tuple[str, Frame]]:
    """The frames that a reader has not seen: a fresh encoder is fed everything."""
    seq, _, n = cursor.partition(".")
    seen = (int(seq), int(n))
    return [
        (f"{entry.seq}.{n}", frame)
        for entry in entries
        for n, frame in enumerate(encoder.feed(entry))
        if (entry.seq, n) > seen
    ]


def framed(framing: FramingName, frames: Sequence[Frame]) -> bytes:
    """Frames as the bytes of a response."""
    return sse.frame(frames) if framing == "sse" else ndjson.frame(frames)


def streamed(dialect: Dialect, vector: DialectVector) -> bytes:
    """The body of the streamed answer."""
    request = vector.request(dialect)
    frames = [frame for _, frame in render(dialect.encoder(request), vector.entries())]
    data = framed(dialect.opening(request).framing, frames)
    return filled(vector.folder, data, [shown for frame in frames for shown in frame.pictures])


def answered(dialect: Dialect, vector: DialectVector) -> Answer:
    """The answer that is not streamed, with its pictures."""
    answer = dialect.whole(vector.request(dialect), fold(vector.entries()))
    body = filled(vector.folder, answer.body, answer.pictures)
    return msgspec.structs.replace(answer, body=body, pictures=())
