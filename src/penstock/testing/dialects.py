"""The contract of every dialect, and golden vectors: what is asked, what happens, what is answered.

`penstock.testing.cases` says what lies in `tests/vectors`.

```python
from penstock.testing.cases import dialect_vectors
from penstock.testing.dialects import Subject, VectorContract

class TestParrot(VectorContract):
    @pytest.fixture(params=dialect_vectors(Path("tests/vectors"), "parrot"), ids=str)
    def subject(self, request: pytest.FixtureRequest) -> Subject:
        return Subject(Dialect(), request.param)
```
"""

import re
from pathlib import Path

import msgspec

from penstock.core.errors import (
    ConfigError,
    GatewayError,
    InvalidRequestError,
    error_classes,
)
from penstock.core.events import TERMINAL, Blob, Event, Image, Progress
from penstock.core.ports import Call, Dialect
from penstock.core.queries import Query
from penstock.core.request import Request
from penstock.testing.cases import (
    Asked,
    DialectVector,
    Refusal,
    answered,
    error_answers,
    plain_classes,
    rejections,
    render,
    render_after,
    routed,
    streamed,
)
from penstock.wire import json


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
        dialect, vector = subject.dialect, subject.vector
        if vector.read("query.json") is None:
            return
        found = vector.found(vector.query(dialect))
        if found is None:
            return
        answer, expected = dialect.answer(found), vector.read("answer.json")
        assert (answer.status, answer.content_type) == (vector.asked().status, "application/json")
        assert answer.body == (b"" if expected is None else json.encode(_value(expected)))

    def test_refuses_by_name(self, subject: Subject) -> None:
        expected = subject.vector.read("refused.json")
        if expected is not None:
            error = refused(subject.dialect, subject.vector.call(subject.dialect))
            told = json.decode(expected, Refusal, ConfigError)
            assert (error.code, error.param) == (told.code, told.param)

    def test_ignores_unknown_fields(self, subject: Subject) -> None:
        call = subject.vector.call(subject.dialect)
        if not call.body or subject.vector.read("refused.json") is not None:
            return
        again = msgspec.structs.replace(call, body=_with_more(call))
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
        answer = answered(dialect, vector)
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

    def test_shows_what_its_entry_names(self, subject: Subject) -> None:
        """Else the bytes are not there when the frame is sent; the last frames may show all."""
        dialect, entries = subject.dialect, subject.vector.entries()
        if not entries:
            return
        encoder = dialect.encoder(subject.vector.request(dialect))
        made: list[str] = []
        for entry in entries:
            named = [blob.sha256 for blob in _blobs(entry.event)]
            made += named if isinstance(entry.event, Image) else []
            allowed = made if isinstance(entry.event, TERMINAL) else named
            for frame in encoder.feed(entry):
                assert {shown.blob.sha256 for shown in frame.pictures} <= set(allowed)

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


def _with_more(call: Call) -> bytes:
    """The body of a call with a field that no API has."""
    content_type = call.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        boundary = content_type.partition("boundary=")[2].encode()
        part = b'Content-Disposition: form-data; name="x_unknown[a]"\r\n\r\n\xc3\xa9'
        return b"--%b\r\n%b\r\n%b" % (boundary, part, call.body)
    return b'{"x_unknown":{"a":[1,null,"\xc3\xa9"]},' + call.body.lstrip()[1:]


def _blobs(event: Event) -> list[Blob]:
    if isinstance(event, Image):
        return [event.blob]
    preview = event.preview if isinstance(event, Progress) else None
    return [preview] if preview is not None else []


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
        for cls in plain_classes():
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
    return refused(dialect, Call(route, {}, {}, {}, body))


def refused(dialect: Dialect, call: Call) -> GatewayError:
    """The error that the dialect raises for a call."""
    try:
        dialect.parse(call)
    except GatewayError as error:
        return error
    raise AssertionError(f"nothing is wrong with {call.body[:200]!r}?")


def _value(data: bytes) -> object:
    return json.decode(data, object, ConfigError)
