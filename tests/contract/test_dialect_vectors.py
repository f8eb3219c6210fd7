"""Every dialect keeps its contract, and every golden vector holds."""

from pathlib import Path
from typing import get_args

import pytest

from penstock import registry
from penstock.core import events as ev
from penstock.core.ports import Dialect
from penstock.testing.cases import DialectVector, dialect_vectors
from penstock.testing.dialects import DialectContract, Subject, VectorContract
from penstock.testing.elsewhere import ElsewhereContract
from penstock.wire import json

ROOT = Path(__file__).parents[1] / "vectors"


def _dialect(name: str) -> Dialect:
    found: Dialect = registry.load("dialects", name).Dialect()
    return found


class TestVectors(VectorContract, ElsewhereContract):
    """All cases of all dialects."""

    @pytest.fixture(params=dialect_vectors(ROOT), ids=str)
    def subject(self, request: pytest.FixtureRequest) -> Subject:
        return Subject(_dialect(request.param.dialect), request.param)


class TestDialects(DialectContract):
    """All dialects."""

    @pytest.fixture(params=sorted(registry.names("dialects")))
    def dialect(self, request: pytest.FixtureRequest) -> Dialect:
        return _dialect(request.param)

    @pytest.fixture
    def root(self) -> Path:
        return ROOT


ENDINGS = {*get_args(ev.FinishReason), "failed"}


def _ending(entry: ev.Entry) -> str:
    event = entry.event
    return event.reason if isinstance(event, ev.Done) else "failed"


GENERATING = sorted(
    name
    for name in registry.names("dialects")
    if any(route.operation == "generate" for route in _dialect(name).routes)
)


@pytest.mark.parametrize("name", GENERATING)
def test_the_cases_show_every_event_and_every_ending(name: str) -> None:
    told = [v.entries() for v in dialect_vectors(ROOT, name) if v.read("response.body")]
    assert {type(entry.event) for entries in told for entry in entries} == set(get_args(ev.Event))
    assert {_ending(entries[-1]) for entries in told} == ENDINGS


@pytest.mark.parametrize("name", GENERATING)
def test_one_case_is_long_and_ends_badly(name: str) -> None:
    long = [v.entries() for v in dialect_vectors(ROOT, name) if len(v.entries()) >= 500]
    for entries in long:
        kinds = [entry.event for entry in entries]
        assert any(isinstance(e, ev.ReasoningDelta) for e in kinds)
        assert len({e.call for e in kinds if isinstance(e, ev.ToolCallDelta)}) == 2
        assert not all(e.text.isascii() for e in kinds if isinstance(e, ev.TextDelta))
    assert any(isinstance(entries[-1].event, ev.Failed) for entries in long)


@pytest.mark.parametrize("vector", dialect_vectors(ROOT), ids=str)
def test_every_case_names_its_source(vector: DialectVector) -> None:
    assert len(vector.read("source.txt") or b"") > 20


@pytest.mark.parametrize("name", sorted(registry.names("dialects")))
def test_every_route_has_a_case(name: str) -> None:
    dialect = _dialect(name)
    asked = {vector.call(dialect).route for vector in dialect_vectors(ROOT, name)}
    assert set(dialect.routes) <= asked


@pytest.mark.parametrize("name", GENERATING)
def test_what_came_in_lines_is_one_event_all_the_same(name: str) -> None:
    """Many models write the arguments of a call over several lines."""
    dialect = _dialect(name)
    vector = next(v for v in dialect_vectors(ROOT, name) if v.read("response.body"))
    told = json.raw('[{\r\n "token": "a",\n "logprob": -1, "bytes": null, "top_logprobs": []\n}]')
    said: list[ev.Event] = [
        ev.Start(stream="0" * 32, asked="", binding="b", model="m", created=1),
        ev.TextDelta(part=1, text="a\r\nb", logprobs=told),
        ev.ToolCallDelta(part=2, call="c", name="f", arguments='{\n "a": [1,\r\n'),
        ev.ToolCallDelta(part=2, call="c", arguments=" 2]\n}\n"),
        ev.Done(reason="tool_calls"),
    ]
    encoder = dialect.encoder(vector.request(dialect))
    frames = [f for n, e in enumerate(said, 1) for f in encoder.feed(ev.Entry(ev.Seq(n), n, e))]
    assert frames
    for frame in frames:
        assert b"\n" not in frame.data
        assert b"\r" not in frame.data
