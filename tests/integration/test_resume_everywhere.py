"""A long stream with everything in it, cut at every place, in each dialect, over HTTP."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import msgspec
import pytest
from tests.integration.serving import ROOT, Serving, serve

from penstock.core.events import Entry

VECTORS = ROOT / "tests/vectors/dialects"
ASKED = {
    "/v1/chat/completions": {
        "model": "default",
        "stream": True,
        "messages": [{"role": "user", "content": "Go"}],
    },
    "/api/v1/generate": {
        "input_data": [{"type": "text", "role": "user_prompt", "data": "Go"}],
        "stream": True,
    },
    "/api/llm/chat/stream": {"messages": [{"role": "user", "content": "Go"}]},
}


def recording() -> bytes:
    """The events of the longest vector: reasoning, two tool calls, non-ASCII text, a failure."""
    path = max(VECTORS.glob("*/*/events.jsonl"), key=lambda path: path.stat().st_size)
    entries = [msgspec.json.decode(line, type=Entry) for line in path.read_bytes().splitlines()]
    assert len(entries) >= 500
    kinds = {entry.event.__struct_config__.tag for entry in entries}
    assert {"text", "reasoning", "tool_call", "failed"} <= kinds
    return b"\n".join(msgspec.json.encode(entry.event) for entry in entries[1:]) + b"\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("server")
    path = folder / "recording.jsonl"
    path.write_bytes(recording())
    config = f'[bindings.tape]\nengine = "replay"\npath = "{path}"\n'
    with serve(folder, config) as serving:
        yield serving


def all_of(client: httpx.Client, verb: str, path: str, **more: object) -> tuple[str, bytes]:
    """A stream's id and its bytes, also when the connection is broken at its end."""
    received = b""
    with client.stream(verb, path, **more) as reply:  # type: ignore[arg-type]
        assert reply.status_code == 200, reply.read()
        stream = str(reply.headers.get("penstock-stream", ""))
        try:
            for data in reply.iter_bytes():
                received += data
        except httpx.HTTPError:
            pass  # an honest end of a broken stream
    return stream, received


def the_end(ids: list[str], blocks: list[bytes]) -> bytes:
    """The frames of the last event."""
    last = ids[-1].partition(".")[0]
    return b"".join(
        block + b"\n\n" for name, block in zip(ids, blocks, strict=True) if name.startswith(last)
    )


@pytest.mark.parametrize("path", sorted(ASKED))
def test_in_a_dialect(server: Serving, path: str):
    with httpx.Client(base_url=server.url, timeout=30) as client:
        asked: dict[str, object] = {"json": ASKED[path]}
        _, plain = all_of(client, "POST", path, **asked)
        assert plain.isascii()
        assert b"id: " not in plain
        stream, whole = all_of(client, "POST", path, headers={"Last-Event-ID": ""}, **asked)
        blocks = whole.split(b"\n\n")[:-1]
        assert len(blocks) >= 400
        ids = [block.split(b"\n")[0].removeprefix(b"id: ").decode() for block in blocks]
        assert len(set(ids)) == len(ids)
        for n in [*range(0, len(ids), 7), len(ids) - 2]:
            again, rest = all_of(client, "POST", path, headers={"Last-Event-ID": ids[n]})
            assert again == stream
            assert rest == b"".join(block + b"\n\n" for block in blocks[n + 1 :])
        past = {"Last-Event-ID": f"{stream}@999999.0"}  # as after a power failure
        assert all_of(client, "POST", path, headers=past) == (stream, the_end(ids, blocks))


def test_in_the_native_protocol(server: Serving):
    with httpx.Client(base_url=server.url, timeout=30) as client:
        asked: dict[str, object] = {"json": ASKED["/v1/chat/completions"]}
        stream, _ = all_of(client, "POST", "/v1/chat/completions", **asked)
        _, whole = all_of(client, "GET", f"/v1/streams/{stream}")
        blocks = whole.split(b"\n\n")[:-1]
        assert len(blocks) >= 500
        last = json.loads(blocks[-1].split(b"\ndata: ")[1])
        assert last["event"]["type"] == "failed"
        for seq in range(len(blocks) + 1):
            _, rest = all_of(client, "GET", f"/v1/streams/{stream}", params={"after": seq})
            assert rest == b"".join(block + b"\n\n" for block in blocks[seq:])


@pytest.mark.parametrize("dialect", ["lollms", "openai_chat", "openai_completions", "portal_chat"])
def test_as_another_dialect_tells_it_to_its_end(server: Serving, dialect: str):
    with httpx.Client(base_url=server.url, timeout=30) as client:
        stream, _ = all_of(
            client, "POST", "/api/llm/chat/stream", json=ASKED["/api/llm/chat/stream"]
        )
        path = f"/v1/streams/{stream}/as/{dialect}"
        _, whole = all_of(client, "GET", path, params={"after": 0})
        blocks = whole.split(b"\n\n")[:-1]
        ids = [block.split(b"\n")[0].removeprefix(b"id: ").decode() for block in blocks]
        assert len(ids) >= 200
        for n in [*range(0, len(ids), 41), len(ids) - 2]:
            _, rest = all_of(client, "GET", path, headers={"Last-Event-ID": ids[n]})
            assert rest == b"".join(block + b"\n\n" for block in blocks[n + 1 :])
        # An `EventSource` comes back after the end too, until it is told that there is nothing.
        end = client.get(path, headers={"Last-Event-ID": ids[-1]})
        assert (end.status_code, end.content) == (204, b"")
        assert end.headers["content-type"].startswith("text/event-stream")
        # It has more than there is, as after a power failure: how it ended, then nothing.
        past = {"Last-Event-ID": f"{stream}@999999.0"}
        _, told = all_of(client, "GET", path, headers=past)
        assert told == the_end(ids, blocks)


def test_after_a_restart_it_is_rendered_as_before(tmp_path: Path):
    path = tmp_path / "recording.jsonl"
    path.write_bytes(recording())
    config = f'[bindings.tape]\nengine = "replay"\npath = "{path}"\n'
    before = {}
    with serve(tmp_path, config) as serving, httpx.Client(base_url=serving.url) as client:
        for route, body in ASKED.items():
            headers = {"Last-Event-ID": ""}
            before[route] = all_of(client, "POST", route, json=body, headers=headers)
    with serve(tmp_path, config) as serving, httpx.Client(base_url=serving.url) as client:
        for route, (stream, whole) in before.items():
            first, _, rest = whole.partition(b"\n\n")
            last_id = first.split(b"\n")[0].removeprefix(b"id: ").decode()
            again = all_of(client, "POST", route, headers={"Last-Event-ID": last_id})
            assert again == (stream, rest)
