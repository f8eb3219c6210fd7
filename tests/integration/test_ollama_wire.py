"""Ollama's routes on the socket: chunks, heartbeats, endings, uploads, keys."""

import json
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.integration.embedded import DEMO
from tests.integration.serving import END, FINISH, SSE_HEAD, Serving, Upstream, said, serve

GREEDY = {"temperature": 0, "seed": 1}
KEYS = """
[security]
allowed_api_keys = ["sk-admin"]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serve(tmp_path_factory.mktemp("server"), "") as serving:
        yield serving


def slow(upstream: Upstream, more: str = "") -> str:
    return (
        "[server]\nheartbeat_seconds = 0.3\nopening_seconds = 0.3\n"
        f'[bindings.up]\nengine = "openai"\nurl = "{upstream.url}"\nmodel = "scripted"\n{more}'
    )


def parts(answer: requests.Response) -> list[Any]:
    """As OllamaClient reads them."""
    return [json.loads(line) for line in answer.iter_lines() if line]


def test_a_line_a_chunk(server: Serving):
    body = {
        "model": "penstock-demo",
        "prompt": "What is streaming?",
        "stream": True,
        "options": GREEDY | {"top_p": 0.9, "num_predict": 20},
    }
    with requests.post(f"{server.url}/api/generate", json=body, stream=True, timeout=10) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.headers["transfer-encoding"] == "chunked"
        assert "content-encoding" not in answer.headers
        told = parts(answer)
    assert all({"model", "created_at", "response", "done"} <= set(part) for part in told)
    assert [part["done"] for part in told[-2:]] == [False, True]
    body["stream"] = False
    whole = requests.post(f"{server.url}/api/generate", json=body, timeout=10)
    assert whole.headers["content-type"] == "application/json"
    assert whole.json()["response"] == "".join(part["response"] for part in told)


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
@pytest.mark.parametrize("stream", [True, False])
def test_silence_is_bridged(tmp_path: Path, path: str, stream: bool):
    upstream = Upstream([[SSE_HEAD, 1.6, said("one"), 1.6, said(" two"), FINISH, END]])
    with serve(tmp_path, slow(upstream)) as serving:
        body = {
            "model": "scripted",
            "stream": stream,
            "prompt": "Hi",
            "messages": [{"role": "user", "content": "Hi"}],
        }
        # A read timeout of one second: no silence of the server's may be longer.
        with requests.post(serving.url + path, json=body, stream=True, timeout=1) as answer:
            assert answer.status_code == 200
            told = parts(answer)
        texts = [part.get("response") or part.get("message", {}).get("content") for part in told]
        assert "".join(text or "" for text in texts) == "one two"
        assert told[-1]["done_reason"] == "stop"
    upstream.close()


def test_a_break_in_the_middle_can_not_be_overlooked(tmp_path: Path):
    upstream = Upstream([[SSE_HEAD, said("one"), "reset"]])
    with serve(tmp_path, slow(upstream)) as serving:
        body = {"model": "scripted", "prompt": "Hi"}
        told: list[Any] = []
        url = f"{serving.url}/api/generate"
        with (
            requests.post(url, json=body, stream=True, timeout=10) as answer,
            pytest.raises(requests.exceptions.ChunkedEncodingError),
        ):
            for line in answer.iter_lines(chunk_size=1):
                told.append(json.loads(line))
        assert [part.get("response") for part in told] == ["one", None]
        assert told[-1]["error"]
        chat = {"model": "scripted", "messages": [{"role": "user", "content": "Hi"}]}
        # A client of the chat reads the line, and raises by itself.
        with requests.post(f"{serving.url}/api/chat", json=chat, stream=True, timeout=10) as answer:
            ended = parts(answer)
        assert ended[0]["message"]["content"] == "one"
        assert list(ended[-1]) == ["error"]
        # One request of ours was one run: nothing was sent again by us.
        assert len(upstream.requests) == 2
    upstream.close()


@pytest.mark.parametrize("stream", [True, False])
def test_a_run_that_failed_at_once_is_sent_once(tmp_path: Path, stream: bool):
    """With the retries of the released OllamaClient: 500, 502, 503 and 504 are posted again."""
    upstream = Upstream([[b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"]])
    retry = requests.adapters.Retry(
        total=3, status_forcelist=[500, 502, 503, 504], allowed_methods=["GET", "POST"]
    )
    with serve(tmp_path, slow(upstream)) as serving, requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
        before = len(upstream.requests)
        body = {"model": "scripted", "prompt": "Hi", "stream": stream}
        answer = session.post(f"{serving.url}/api/generate", json=body, timeout=10)
        assert answer.status_code == 424
        assert answer.json()["error"]
        assert len(upstream.requests) - before == 1
    upstream.close()


def test_an_unknown_model_is_404_with_the_words_that_clients_look_for(server: Serving):
    body = {"model": "no-such-model", "prompt": "Hi", "messages": [{"role": "user", "content": ""}]}
    for path in ("/api/generate", "/api/chat", "/api/show"):
        answer = requests.post(server.url + path, json=body, timeout=10)
        assert answer.status_code == 404
        assert "not found" in answer.json()["error"]


def test_too_many_at_once_may_come_back(tmp_path: Path):
    config = "[server]\nmax_runs = 1\n"
    with serve(tmp_path, config) as serving:
        body = {"model": "default", "prompt": "Tell me a very long story about a dragon."}
        url = f"{serving.url}/api/generate"
        with requests.post(url, json=body, stream=True, timeout=10) as first:
            next(first.iter_lines())
            second = requests.post(url, json=body, timeout=10)
            assert second.status_code == 429
            assert int(second.headers["retry-after"]) >= 1
            assert second.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/version", 200),
        ("HEAD", "/api/version", 200),
        ("GET", "/api/tags", 200),
        ("HEAD", "/api/tags", 200),
        ("GET", "//api//ps", 200),
        ("GET", "/api/generate", 405),
        ("GET", "/api/nothing", 404),
        ("POST", "/api/push", 501),
    ],
)
def test_routes(server: Serving, method: str, path: str, status: int):
    answer = requests.request(method, server.url + path, timeout=10)
    assert answer.status_code == status
    if status >= 400:
        assert list(answer.json()) == ["error"]
    if status == 405:
        assert "POST" in answer.headers["allow"]


def test_what_is_in_memory_is_told_also_while_an_upstream_is_away(tmp_path: Path):
    upstream = Upstream([])
    config = f'''
    [bindings.embedded]
    engine = "llamacpp"
    [bindings.away]
    engine = "ollama"
    url = "{upstream.url}"
    '''
    with serve(tmp_path, config) as serving:
        loaded = requests.post(
            f"{serving.url}/api/chat", json={"model": "penstock-demo"}, timeout=30
        )
        assert loaded.status_code == 200
        before = requests.get(f"{serving.url}/api/ps", timeout=10).json()
        upstream.close()
        after = requests.get(f"{serving.url}/api/ps", timeout=10)
    assert after.status_code == 200
    assert [one["name"] for one in after.json()["models"]] == ["penstock-demo"]
    assert after.json() == before


def test_the_version_tells_whose_it_is(server: Serving):
    told = requests.get(f"{server.url}/api/version", timeout=10).json()
    assert set(told) == {"version", "penstock"}
    assert told["version"].count(".") == 2


def test_hints_are_named(server: Serving):
    body = {
        "model": "penstock-demo",
        "prompt": "Hi",
        "stream": False,
        "keep_alive": "5m",
        "options": {"num_ctx": 512, "num_predict": 1, "x_unknown": 1},
    }
    answer = requests.post(f"{server.url}/api/generate", json=body, timeout=10)
    assert answer.status_code == 200
    assert answer.headers["penstock-ignored"] == "keep_alive, options.num_ctx"
    embed = {"model": "penstock-demo", "input": "x", "keep_alive": 5}
    answer = requests.post(f"{server.url}/api/embed", json=embed, timeout=30)
    assert answer.headers["penstock-ignored"] == "keep_alive"


def test_what_this_binding_can_not_do_is_named_as_the_client_calls_it(server: Serving):
    body = {"model": "penstock-demo", "prompt": "Hi", "images": ["iVBORw0KGgoAAAANSUhEUg=="]}
    answer = requests.post(f"{server.url}/api/generate", json=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json() == {"error": "the binding 'embedded' does not support images"}


# ── uploads ──────────────────────────────────────────────────────────────────────────────────────


def upload(url: str, digest: str, data: Any, **headers: str) -> requests.Response:
    return requests.post(f"{url}/api/blobs/sha256:{digest}", data=data, headers=headers, timeout=60)


def test_a_file_is_uploaded_past_the_limit_of_other_bodies(tmp_path: Path):
    config = "[server]\nmax_body_bytes = 20000\nmax_upload_bytes = 40000000\n"
    with serve(tmp_path, config) as serving:
        data = DEMO.read_bytes() + b"\0" * 3
        digest = sha256(data).hexdigest()
        place = f"{serving.url}/api/blobs/sha256:{digest}"
        assert requests.head(place, timeout=10).status_code == 404

        def chunked() -> Iterator[bytes]:
            yield from (data[n : n + 65536] for n in range(0, len(data), 65536))

        answer = upload(serving.url, digest, chunked())
        assert (answer.status_code, answer.content) == (201, b"")
        assert requests.head(place, timeout=10).status_code == 200
        assert upload(serving.url, digest, data).status_code == 201
        wrong = upload(serving.url, "0" * 64, data)
        assert wrong.status_code == 400
        assert wrong.json()["error"]
        assert upload(serving.url, "abc", b"x").status_code == 400
        large = requests.post(f"{serving.url}/api/chat", json={"x": "y" * 20000}, timeout=10)
        assert large.status_code == 413
        assert list(large.json()) == ["error"]


def test_an_upload_has_a_limit_of_its_own(tmp_path: Path):
    with serve(tmp_path, "[server]\nmax_upload_bytes = 100000\n") as serving:
        data = b"x" * 100_001
        answer = upload(serving.url, sha256(data).hexdigest(), data)
        assert answer.status_code == 413
        assert requests.get(f"{serving.url}/api/version", timeout=10).status_code == 200


def test_the_memory_of_an_upload_is_not_its_size(tmp_path: Path):
    with serve(tmp_path, "") as serving:
        piece, count = b"\x17" * 1_000_000, 300
        digest = sha256(piece * count).hexdigest()
        requests.get(f"{serving.url}/api/version", timeout=10)
        before = resident(serving.process.pid)
        answer = upload(serving.url, digest, (piece for _ in range(count)))
        assert answer.status_code == 201
        assert resident(serving.process.pid) - before < 100_000_000


def resident(pid: int) -> int:
    """The most bytes of memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def test_a_lost_upload_leaves_nothing(tmp_path: Path):
    with serve(tmp_path, "") as serving:

        def broken() -> Iterator[bytes]:
            yield b"x" * 100_000
            raise ConnectionAbortedError

        with pytest.raises(requests.exceptions.ConnectionError):
            upload(serving.url, "1" * 64, broken())
        deadline = time.monotonic() + 10
        store = serving.folder / ".local/share/penstock/models"
        while left := [p for p in store.rglob("*") if p.is_file() and p.stat().st_size >= 100_000]:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
        place = f"{serving.url}/api/blobs/sha256:{'1' * 64}"
        assert requests.head(place, timeout=10).status_code == 404


def test_what_changes_the_store_is_an_admins(tmp_path: Path):
    with serve(tmp_path, KEYS) as serving:
        digest = sha256(b"x").hexdigest()
        calls = [
            ("POST", "/api/pull", {"model": "hf.co/a/b"}),
            ("POST", "/api/create", {"model": "a", "from": "penstock-demo"}),
            ("POST", "/api/copy", {"source": "a", "destination": "b"}),
            ("DELETE", "/api/delete", {"model": "a"}),
            ("HEAD", f"/api/blobs/sha256:{digest}", None),
            ("POST", f"/api/blobs/sha256:{digest}", None),
            ("POST", "/api/generate", {"model": "penstock-demo", "keep_alive": 0}),
        ]
        key = {"authorization": "Bearer sk-admin"}
        for method, path, body in calls:
            url = serving.url + path
            refused = requests.request(method, url, json=body, timeout=10)
            assert refused.status_code == 401, path
            answer = requests.request(method, url, json=body, headers=key, timeout=10)
            assert answer.status_code == 403, path
        loads = requests.post(
            f"{serving.url}/api/generate", json={"model": "penstock-demo"}, headers=key, timeout=30
        )
        assert loads.json()["done_reason"] == "load"
