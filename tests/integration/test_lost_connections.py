"""A client that leaves: what its run does, and what is there afterwards."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.integration.serving import END, FINISH, SSE_HEAD, Serving, Upstream, said, serve

WORDS = [f"word{n} " for n in range(120)]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A hundred and twenty words, ten milliseconds apart."""
    script: list[bytes | float | str] = [SSE_HEAD]
    for word in WORDS:
        script += [said(word), 0.01]
    upstream = Upstream([[*script, FINISH, END]])
    yield upstream
    upstream.close()


def config(upstream: Upstream, streams: str = "") -> str:
    return (
        f'[bindings.up]\nengine = "openai"\nurl = "{upstream.url}"\nmodel = "scripted"\n'
        f"[streams]\n{streams}\n"
    )


def leave_after(serving: Serving, count: int, headers: dict[str, str] | None = None) -> str:
    """Starts a stream, reads a few chunks, and breaks the connection. Its stream's id."""
    asked = {"model": "default", "stream": True, "messages": [{"role": "user", "content": "Go"}]}
    with httpx.stream(
        "POST", serving.url + "/v1/chat/completions", json=asked, headers=headers or {}
    ) as reply:
        assert reply.status_code == 200, reply.read()
        stream = reply.headers["penstock-stream"]
        for n, _ in enumerate(reply.iter_lines()):
            if n > count:
                return str(stream)
    raise AssertionError("the stream ended early")


def entries(serving: Serving, stream: str, after: int = 0) -> list[dict[str, object]]:
    """All of a stream from the native route, which waits until it has ended."""
    found = []
    with httpx.stream(
        "GET", f"{serving.url}/v1/streams/{stream}", params={"after": after}, timeout=30
    ) as reply:
        assert reply.status_code == 200, reply.read()
        for line in reply.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
    return found


def text_of(found: list[dict[str, object]]) -> str:
    events = [entry["event"] for entry in found]
    return "".join(e["text"] for e in events if e["type"] == "text")  # type: ignore[index]


def test_cancel_closes_the_upstream_within_100_ms(tmp_path: Path, upstream: Upstream):
    with serve(tmp_path, config(upstream, 'on_disconnect = "cancel"')) as serving:
        stream = leave_after(serving, 10)
        left = time.monotonic()
        assert upstream.gone.wait(5)
        assert upstream.gone_at - left < 1.0  # 100 ms on an idle machine; this one is shared
        found = entries(serving, stream)
        assert found[-1]["event"] == {"type": "done", "reason": "cancelled"}
        assert "".join(WORDS).startswith(text_of(found))


def test_finish_keeps_the_whole_text(tmp_path: Path, upstream: Upstream):
    with serve(tmp_path, config(upstream, 'on_disconnect = "finish"')) as serving:
        stream = leave_after(serving, 10)
        found = entries(serving, stream)
        assert text_of(found) == "".join(WORDS)
        assert found[-1]["event"] == {"type": "done", "reason": "stop"}
        assert not upstream.gone.is_set()


def test_linger_waits_for_a_reader_to_come_back(tmp_path: Path, upstream: Upstream):
    streams = 'on_disconnect = "linger"\nlinger_seconds = 0.3'
    with serve(tmp_path, config(upstream, streams)) as serving:
        stream = leave_after(serving, 10)
        found = entries(serving, stream)  # comes back at once
        assert text_of(found) == "".join(WORDS)
        gone = leave_after(serving, 10)
        assert upstream.gone.wait(5)
        assert entries(serving, gone)[-1]["event"] == {"type": "done", "reason": "cancelled"}


def test_a_request_may_choose_its_own_policy(tmp_path: Path, upstream: Upstream):
    with serve(tmp_path, config(upstream, 'on_disconnect = "finish"')) as serving:
        stream = leave_after(serving, 10, {"Penstock-On-Disconnect": "cancel"})
        assert upstream.gone.wait(5)
        assert entries(serving, stream)[-1]["event"] == {"type": "done", "reason": "cancelled"}
        wrong = httpx.post(
            serving.url + "/v1/chat/completions",
            json={"model": "default", "messages": [{"role": "user", "content": "Go"}]},
            headers={"Penstock-On-Disconnect": "shrug"},
        )
        assert wrong.status_code == 400
        assert "Penstock-On-Disconnect" in wrong.text


def test_a_whole_answer_that_nobody_waits_for_is_cancelled(tmp_path: Path, upstream: Upstream):
    with serve(tmp_path, config(upstream)) as serving:
        asked = {"model": "default", "messages": [{"role": "user", "content": "Go"}]}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(serving.url + "/v1/chat/completions", json=asked, timeout=0.3)
        assert upstream.gone.wait(5)


def test_explicit_cancel_stops_the_engine(tmp_path: Path, upstream: Upstream):
    with serve(tmp_path, config(upstream, 'on_disconnect = "finish"')) as serving:
        stream = leave_after(serving, 5)
        answer = httpx.post(f"{serving.url}/v1/streams/{stream}/cancel")
        assert answer.json()["cancelled"] is True
        assert upstream.gone.wait(5)
        again = httpx.post(f"{serving.url}/v1/streams/{stream}/cancel")
        assert again.json()["cancelled"] is False


def test_every_seq_gives_exactly_the_rest(tmp_path: Path, upstream: Upstream):
    with serve(tmp_path, config(upstream, 'on_disconnect = "finish"')) as serving:
        stream = leave_after(serving, 5)
        live = entries(serving, stream, after=50)  # joins while it is being written
        whole = entries(serving, stream)
        assert [entry["seq"] for entry in whole] == list(range(1, len(whole) + 1))
        assert live == whole[50:]
        for after in range(len(whole) + 1):
            assert entries(serving, stream, after) == whole[after:]
        resumed = httpx.get(f"{serving.url}/v1/streams/{stream}", headers={"Last-Event-ID": "60"})
        assert resumed.text.startswith("id: 61\n")


def test_delete_erases(tmp_path: Path, upstream: Upstream):
    with serve(tmp_path, config(upstream, 'on_disconnect = "finish"')) as serving:
        stream = leave_after(serving, 5)
        erased = httpx.delete(f"{serving.url}/v1/streams/{stream}")
        assert erased.json()["deleted"] is True
        assert upstream.gone.wait(5)
        gone = httpx.get(f"{serving.url}/v1/streams/{stream}")
        assert gone.status_code == 404
        assert gone.json()["error"]["code"]
        kept = b"".join(path.read_bytes() for path in serving.streams.rglob("*") if path.is_file())
        assert b"word1 " not in kept


def test_another_keys_stream_is_not_there(tmp_path: Path, upstream: Upstream):
    keys = '[security]\nallowed_api_keys = ["one", "two"]\nadmin_keys = ["root"]\n'
    with serve(tmp_path, config(upstream) + keys) as serving:
        stream = leave_after(serving, 5, {"Authorization": "Bearer one"})
        path = f"{serving.url}/v1/streams"
        statuses = {
            key: httpx.get(f"{path}/{stream}?after=100000", headers={"X-API-Key": key}).status_code
            for key in ("two", "one", "root")
        }
        assert statuses == {"two": 404, "one": 200, "root": 200}
        for verb, address in (("POST", f"{path}/{stream}/cancel"), ("DELETE", f"{path}/{stream}")):
            assert httpx.request(verb, address, headers={"X-API-Key": "two"}).status_code == 404
        mine = {
            key: [s["stream"] for s in httpx.get(path, headers={"X-API-Key": key}).json()["data"]]
            for key in ("one", "two", "root")
        }
        assert mine == {"one": [stream], "two": [], "root": [stream]}
