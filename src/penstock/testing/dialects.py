"""The contract of every dialect, and golden vectors: what is asked, what happens, what is answered.

`tests/vectors/dialects/DIALECT/CASE/` holds

- `call.json`: method, path, headers and query of the request, and `request.body`, its body;
- `request.json`: what the dialect makes of it;
- `events.jsonl`: the stream, one entry a line;
- `response.body`: the bytes of the streamed answer, framing included;
- `whole.json` or `whole.txt`: the body of the answer that is not streamed;
- `source.txt`: where the wire form was published or captured. It is never made by our encoder.

A question about vectors has `query.json`, what the dialect makes of it, `embedded.json`, what an
engine found, and `answer.json`, the body of the answer.

What a case does not show, it leaves out. `tests/vectors/errors/DIALECT.json` has the answer to each
error, `tests/vectors/rejected/DIALECT.json` bodies that are refused and the field to name.

```python
from penstock.testing.dialects import DialectContract, Subject, VectorContract, dialect_vectors

class TestParrot(VectorContract):
    @pytest.fixture(params=dialect_vectors(Path("tests/vectors"), "parrot"), ids=str)
    def subject(self, request: pytest.FixtureRequest) -> Subject:
        return Subject(Dialect(), request.param)
```
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from typing_extensions import override

from penstock.core.errors import (
    ConfigError,
    GatewayError,
    InvalidRequestError,
    WrongMethodError,
    error_classes,
)
from penstock.core.events import Entry
from penstock.core.folding import fold
from penstock.core.ports import Call, Dialect, Encoder, Frame, FramingName, Route
from penstock.core.queries import Embedded, Found, Query
from penstock.core.request import Request
from penstock.wire import json, ndjson, sse

# ── vectors ──────────────────────────────────────────────────────────────────────────────────────


class Asked(msgspec.Struct, frozen=True):
    """`call.json`."""

    method: str = "POST"
    path: str = ""
    headers: dict[str, str] = {}
    query: dict[str, str] = {}


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
        asked = json.decode(self.read("call.json") or b"", Asked, ConfigError)
        return routed(dialect, asked, self.read("request.body") or b"")

    def request(self, dialect: Dialect) -> Request:
        """The request as the dialect reads it."""
        found = dialect.parse(self.call(dialect))
        assert isinstance(found, Request), f"{self}: no generation"
        return found

    def query(self, dialect: Dialect) -> Query:
        """The question as the dialect reads it."""
        found = dialect.parse(self.call(dialect))
        assert isinstance(found, Query), f"{self}: no question"
        return found

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
        cls = next(cls for cls in _plain_classes() if cls.code == self.code)
        return cls(self.message, param=self.param, retry_after=self.retry_after)


def error_answers(root: Path, dialect: str) -> list[ErrorAnswer]:
    """`tests/vectors/errors/DIALECT.json`."""
    data = (root / "errors" / f"{dialect}.json").read_bytes()
    return json.decode(data, list[ErrorAnswer], ConfigError)


def _plain_classes() -> list[type[GatewayError]]:
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
    return framed(dialect.opening(request).framing, frames)


# ── contracts ────────────────────────────────────────────────────────────────────────────────────


class Subject(msgspec.Struct, frozen=True):
    """A dialect and one of its cases."""

    dialect: Dialect
    vector: DialectVector


class VectorContract:
    """What every case of every dialect must keep; a subclass gives `subject`."""

    def test_reads_the_request(self, subject: Subject) -> None:
        expected = subject.vector.read("request.json")
        if expected is not None:
            request = json.encode(subject.vector.request(subject.dialect))
            assert _value(request) == _value(expected)

    def test_reads_the_question(self, subject: Subject) -> None:
        expected = subject.vector.read("query.json")
        if expected is not None:
            query = json.encode(subject.vector.query(subject.dialect))
            assert _value(query) == _value(expected)

    def test_answers_the_question(self, subject: Subject) -> None:
        embedded, expected = (
            subject.vector.read("embedded.json"),
            subject.vector.read("answer.json"),
        )
        if embedded is None or expected is None:
            return
        query = subject.vector.query(subject.dialect)
        made = json.decode(embedded, Embedded, ConfigError)
        answer = subject.dialect.answer(Found(query=query, embedded=made))
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert answer.body == json.encode(_value(expected))

    def test_ignores_unknown_fields(self, subject: Subject) -> None:
        call = subject.vector.call(subject.dialect)
        if not call.body:
            return
        more = b'{"x_unknown":{"a":[1,null,"\xc3\xa9"]},' + call.body.lstrip()[1:]
        again = msgspec.structs.replace(call, body=more)
        assert subject.dialect.parse(again) == subject.dialect.parse(call)

    def test_streams_the_response(self, subject: Subject) -> None:
        expected = subject.vector.read("response.body")
        if expected is not None:
            assert streamed(subject.dialect, subject.vector) == expected

    def test_answers_whole(self, subject: Subject) -> None:
        dialect, vector = subject.dialect, subject.vector
        as_json, as_text = vector.read("whole.json"), vector.read("whole.txt")
        if as_json is None and as_text is None:
            return
        answer = dialect.whole(vector.request(dialect), fold(vector.entries()))
        assert answer.status == 200
        if as_text is not None:
            assert (answer.content_type, answer.body) == ("text/plain; charset=utf-8", as_text)
        elif as_json is not None:
            assert answer.content_type == "application/json"
            assert answer.body == json.encode(_value(as_json))

    def test_resumes_after_every_frame(self, subject: Subject) -> None:
        dialect, entries = subject.dialect, subject.vector.entries()
        if not entries:
            return
        request = subject.vector.request(dialect)
        everything = render(dialect.encoder(request), entries)
        places = range(0, len(everything), max(1, len(everything) // 100))
        for n in places:
            rest = render_after(dialect.encoder(request), entries, everything[n][0])
            assert rest == everything[n + 1 :]

    def test_stored_request_renders_alike(self, subject: Subject) -> None:
        """The log keeps the request as JSON; the stream is rendered from that tomorrow."""
        dialect, entries = subject.dialect, subject.vector.entries()
        if not entries:
            return
        request = subject.vector.request(dialect)
        stored = json.decode(json.encode(request), Request, ConfigError)
        first = render(dialect.encoder(request), entries)
        assert render(dialect.encoder(stored), entries) == first

    def test_frames_are_lines_of_ascii(self, subject: Subject) -> None:
        """No client that splits lines in its own way can cut a frame; none meets unknown fields."""
        data = streamed_or_nothing(subject)
        assert data.isascii()
        lines = [line for line in data.split(b"\n") if line]
        assert not any(line.startswith((b"id:", b"retry:")) for line in lines)
        assert b"\r" not in data


def streamed_or_nothing(subject: Subject) -> bytes:
    """The streamed answer of a case that has a stream."""
    if subject.vector.read("events.jsonl") is None:
        return b""
    return streamed(subject.dialect, subject.vector)


class DialectContract:
    """What a dialect must keep beside its cases; a subclass gives `dialect` and `root`."""

    def test_every_error_has_its_answer(self, dialect: Dialect, root: Path) -> None:
        told = error_answers(root, dialect.name)
        for case in told:
            answer = dialect.error(case.error())
            found = (answer.status, dict(answer.headers), _value(answer.body))
            assert found == (case.status, case.headers, _value(bytes(case.body))), case.code
        codes = {cls.code for cls in error_classes() if cls.__module__ == GatewayError.__module__}
        assert codes <= {case.code for case in told}

    def test_errors_are_ascii_json(self, dialect: Dialect) -> None:
        for cls in _plain_classes():
            answer = dialect.error(cls("caf\u00e9 \u2028 \U0001f600"))
            assert answer.status >= 400
            assert answer.body.isascii()
            assert answer.content_type == "application/json"
            assert isinstance(_value(answer.body), dict)

    def test_wrong_fields_are_named(self, dialect: Dialect, root: Path) -> None:
        told = rejections(root, dialect.name)
        assert told
        for case in told:
            error = refusal(dialect, bytes(case.body))
            assert (error.code, error.param) == (case.code, case.param), bytes(case.body)
            if case.param:
                assert case.param.split(".")[0].split("[")[0] in error.message

    def test_what_is_no_json_object_is_refused(self, dialect: Dialect) -> None:
        bodies = [b"", b"{", b"[]", b"1", b'"a"', b"null", b"\xff", b'{"a":"\\ud800"}', b"[" * 9999]
        for body in bodies:
            assert isinstance(refusal(dialect, body), InvalidRequestError), body[:20]

    def test_names_are_usable(self, dialect: Dialect) -> None:
        assert all(name == name.lower() for name in dialect.credentials)
        paths = [(route.method, route.path) for route in dialect.routes]
        assert len(paths) == len(set(paths))
        for route in dialect.routes:
            assert route.path.startswith(dialect.prefixes)

    def test_questions_are_read(self, dialect: Dialect) -> None:
        for route in dialect.routes:
            if route.operation in ("generate", "has_blob") or route.method in ("POST", "PUT"):
                continue  # What is asked stands in the body, or isn't any name: own tests.
            if route.method == "DELETE" and "{" not in route.path:
                continue
            path = re.sub(r"\{\w+(:path)?\}", "some", route.path)
            found = dialect.parse(routed(dialect, Asked(route.method, path), b""))
            name = "some" if "{" in route.path else ""
            assert isinstance(found, Query)
            assert (found.operation, found.name) == (route.operation, name)


def refusal(dialect: Dialect, body: bytes) -> GatewayError:
    """The error that the dialect raises for a body, of its first route where none generates."""
    generating = (route for route in dialect.routes if route.operation == "generate")
    route = next(generating, dialect.routes[0])
    try:
        dialect.parse(Call(route, {}, {}, {}, body))
    except GatewayError as error:
        return error
    raise AssertionError(f"nothing is wrong with {body[:200]!r}?")


def _value(data: bytes) -> object:
    return json.decode(data, object, ConfigError)
