"""Stored keys on a server: made, used, limited and revoked while it runs; their secrets nowhere."""

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import msgspec
import pytest
import requests
from tests.integration.serving import (
    END,
    FINISH,
    ROOT,
    SSE_HEAD,
    Serving,
    Upstream,
    free_port,
    said,
    serve,
    start,
)
from tests.postgres import PASSWORD, empty, serving_postgres

SECONDS = 30.0


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    script: list[bytes | float | str] = [SSE_HEAD, said("well"), "stall"]
    found = Upstream([script, [SSE_HEAD, said("well"), FINISH, END]])
    yield found
    found.close()


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    config = (
        '[bindings.embedded]\nengine = "llamacpp"\n'
        f'[bindings.slow]\nengine = "openai"\nurl = "{upstream.url}"\nkey = "k"\n'
    )
    with serve(tmp_path_factory.mktemp("server"), config) as serving:
        yield serving


def keys(folder: Path, *arguments: str, ok: bool = True) -> dict[str, object]:
    """`penstock keys …` as the server's owner would call it."""
    command = [sys.executable, "-m", "penstock.cli", "keys", *arguments, "--json"]
    command += ["-c", str(folder / "config.toml")]
    environment = {"HOME": str(folder), "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=False)
    assert (done.returncode == 0) is ok, done.stderr.decode()
    return cast("dict[str, object]", msgspec.json.decode(done.stdout)) if ok else {}


def make(folder: Path, *arguments: str) -> str:
    return str(keys(folder, "create", *arguments)["key"])


def ask(
    serving: Serving, key: str | None, model: str = "penstock-demo", path: str = "openai"
) -> tuple[int, Mapping[str, str], str]:
    """Status, headers and body of a small generation."""
    connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=SECONDS)
    body: dict[str, object] = {"model": model, "max_tokens": 3}
    body["messages"] = [{"role": "user", "content": "Hello"}]
    if path == "lollms":
        body = {"prompt": "Hello", "parameters": {"max_tokens": 3}}
    route = "/v1/chat/completions" if path == "openai" else "/api/v1/generate"
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    try:
        connection.request("POST", route, msgspec.json.encode(body), headers)
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, names, answer.read().decode()
    finally:
        connection.close()


def until(serving: Serving, key: str | None, status: int) -> str:
    """Asks until the answer has this status; its body."""
    found, body = 0, ""
    for _ in range(int(SECONDS / 0.1)):
        found, _headers, body = ask(serving, key, model="no-such-model")
        if found == status:
            return body
        time.sleep(0.1)
    raise AssertionError(f"the answer is {found}: {body}")


def holding(folder: Path, secrets: list[str]) -> list[str]:
    """The files below a folder that hold one of these."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [f"{path}: {s}" for path in files for s in secrets if s.encode() in path.read_bytes()]


def test_a_key_from_its_making_to_its_end(server: Serving):
    assert ask(server, None)[0] == 200  # nobody has made a key
    alice = make(server.folder, "alice", "--models", "penstock-*", "--dialects", "openai_*")
    assert "key is needed" in until(server, None, 401)
    status, headers, _ = ask(server, alice)
    assert status == 200
    assert not [name for name in headers if name.startswith("x-ratelimit")]

    status, _, body = ask(server, alice, model="scripted")
    assert status == 403
    assert "'scripted'" in body
    status, _, body = ask(server, alice, path="lollms")
    assert status == 403
    assert "'lollms'" in body
    # Nor does a stream told anew speak what the key may not.
    place = f"{server.url}/v1/streams/{headers['penstock-stream']}"
    told = {
        how: requests.get(place + how, headers={"X-API-Key": alice}, timeout=SECONDS)
        for how in ("", "/as/openai_completions", "/as/lollms")
    }
    assert [answer.status_code for answer in told.values()] == [200, 200, 403]
    assert "'lollms'" in told["/as/lollms"].text

    keys(server.folder, "create", "alice", ok=False)
    keys(server.folder, "revoke", "alice")
    assert "revoked" in until(server, alice, 401)
    # What was the last key opens nothing by going.
    assert ask(server, None)[0] == 401
    assert holding(server.folder, [alice]) == []


def test_requests_a_minute(server: Serving):
    carol = make(server.folder, "carol", "--requests-per-minute", "2", "--expires", "1h")
    before = time.time()
    status, headers, _ = ask(server, carol)
    while status == 401 and time.time() < before + SECONDS:
        time.sleep(0.1)
        status, headers, _ = ask(server, carol)
    assert status == 200
    names = ("limit", "remaining", "reset")
    limit, remaining, reset = (headers[f"x-ratelimit-{name}-requests"] for name in names)
    assert (limit, remaining) == ("2", "1")
    assert before < int(reset) <= time.time() + 61

    _, headers, _ = ask(server, carol)
    assert headers["x-ratelimit-remaining-requests"] == "0"
    status, headers, body = ask(server, carol)
    assert status == 429
    assert 1 <= int(headers["retry-after"]) <= 60
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"] == reset
    error = msgspec.json.decode(body)["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")


def test_generations_at_a_time(server: Serving, upstream: Upstream):
    dave = make(server.folder, "dave", "--concurrent", "1")
    until(server, dave, 404)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    body = {"model": "scripted", "messages": [{"role": "user", "content": "x"}], "stream": True}
    headers = {"authorization": f"Bearer {dave}", "penstock-on-disconnect": "cancel"}
    connection.request("POST", "/v1/chat/completions", msgspec.json.encode(body), headers)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.readline()

    status, named, said_ = ask(server, dave)
    assert status == 429
    assert named["retry-after"] == "1"
    assert "1 at a time" in said_
    answer.close()
    connection.close()
    assert upstream.gone.wait(SECONDS)
    for _ in range(int(SECONDS / 0.1)):
        status, _, said_ = ask(server, dave)
        if status != 429:
            break
        time.sleep(0.1)
    assert status == 200, said_


def test_stored_keys_open_a_server_to_others(tmp_path: Path):
    config = '[server]\nhost = "0.0.0.0"\n'
    with pytest.raises(AssertionError, match="penstock keys create"):
        start(tmp_path, config)
    key = make(tmp_path, "alice")
    with serve(tmp_path, config) as serving:
        assert ask(serving, None)[0] == 401
        assert ask(serving, key)[0] == 200
    assert holding(tmp_path, [key]) == []


def test_a_server_without_keys_is_open_to_others_only_when_told_so(tmp_path: Path):
    with serve(tmp_path, '[server]\nhost = "0.0.0.0"\ninsecure = true\n') as serving:
        assert ask(serving, None)[0] == 200
        assert "everybody who reaches this address may use it" in serving.said


def test_no_secret_is_left_anywhere(tmp_path: Path):
    """Amendment M20: database files, WAL, streams, logs."""
    configured = "configured-secret-91c4"
    config = f'[security]\nallowed_api_keys = ["{configured}"]\n[stores]\n'
    with serve(tmp_path, config) as serving:
        issued = [make(tmp_path, f"key{n}", "--concurrent", "4") for n in range(3)]
        for key in issued:
            until(serving, key, 404)
        for key in (*issued, configured, "wrong-secret-5d20"):
            ask(serving, key)
        secrets = [*issued, configured, "wrong-secret-5d20"]
        # The random parts alone too: a prefix cut off hides nothing.
        secrets += [key[3:] for key in issued]
        (tmp_path / "config.toml").unlink()
        data = tmp_path / ".local" / "share" / "penstock"
        assert {path.name for path in data.iterdir()} >= {"stores.sqlite", "stores.sqlite-wal"}
        assert holding(tmp_path, secrets) == []
        serving.kill()
        assert holding(tmp_path, secrets) == []


@pytest.mark.services
def test_keys_in_postgresql(tmp_path: Path):
    with serving_postgres() as url:
        empty(url)
        config = f'[stores]\nurl = "{url}"\n'
        tmp_path.joinpath("config.toml").write_text(config)
        key = make(tmp_path, "alice")
        with serve(tmp_path, config) as serving:
            assert ask(serving, None)[0] == 401
            assert ask(serving, key)[0] == 200
            assert PASSWORD not in serving.said
            keys(tmp_path, "revoke", "alice")
            until(serving, key, 401)


@pytest.mark.services
def test_a_server_does_not_start_without_its_keys(tmp_path: Path):
    config = f'[stores]\nurl = "postgresql://u:{PASSWORD}@127.0.0.1:{free_port()}/d"\n'
    with pytest.raises(AssertionError, match="can't be reached") as caught:
        start(tmp_path, config)
    assert PASSWORD not in str(caught.value)
