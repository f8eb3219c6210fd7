"""Schemathesis against `/openapi.json` of a live server: every operation, in every phase."""

import json
import re
import shutil
import time
import tomllib
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.integration.hub import Hub
from tests.integration.serving import Serving, serve
from tests.outside.live import HERE, VENVS, found, run

from penstock import registry
from penstock.core.ports import Call, Dialect
from penstock.stores._database import _THREADS as STORE_CONNECTIONS
from penstock.testing.cases import DialectVector, dialect_vectors, error_answers

FOLDER = HERE / "schemathesis"
VECTORS = HERE.parent / "vectors"
CONFIG = """
[security]
allowed_api_keys = ["a-key"]
admin_keys = ["the-admin"]

[defaults]
default_context_size = 128
default_max_output_tokens = 8

[streams]
on_disconnect = "cancel"

[bindings.local]
engine = "llamacpp"

[models."*"]
binding = "local"
name = "penstock-demo"
max_tokens = 8

[personalities.pirate]
personality_conditioning = "You are a pirate."
"""


@contextmanager
def penstock(folder: Path) -> Iterator[Serving]:
    """Every model's name is answered, with few tokens and a short context. Its hub is a loopback
    one that has no such model.
    """
    hub = Hub({})
    try:
        with serve(folder, CONFIG, environment={"HF_ENDPOINT": hub.url}) as serving:
            yield serving
    finally:
        hub.close()


def gauge(serving: Serving, name: str) -> int:
    with urllib.request.urlopen(serving.url + "/metrics", timeout=10) as answer:
        found = re.search(rf"^penstock_{name} (\d+)", answer.read().decode(), re.MULTILINE)
    assert found is not None, name
    return int(found[1])


def open_files(serving: Serving) -> list[str]:
    """What the server's file descriptors are, but for names that change (log segments, sockets)."""
    folder = Path(f"/proc/{serving.process.pid}/fd")
    found = []
    for each in folder.iterdir():
        with suppress(OSError):  # closed meanwhile
            found.append(re.sub(r"\d+", "N", str(each.readlink())))
    return sorted(found)


def ask(serving: Serving, method: str, path: str, body: object = None) -> bytes:
    """The body of an answer, whatever its status."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": "Bearer the-admin", "Content-Type": "application/json"}
    request = urllib.request.Request(serving.url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: bytes = answer.read()
            return found
    except urllib.error.HTTPError as error:
        return error.read()


def warmed(serving: Serving) -> None:
    """What is made at first use is there before anything is counted: the first generation's, the
    database's and the index' connections, the one that is kept to the hub.
    """
    chat = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    assert b"content" in ask(serving, "POST", "/v1/chat/completions", chat)
    assert b"[DONE]" in ask(serving, "POST", "/v1/chat/completions", {**chat, "stream": True})
    said = {"session_id": "warm", "message": "Hi"}
    assert b"response" in ask(serving, "POST", "/api/llm/chat/session", said)
    assert b"not found" in ask(serving, "POST", "/api/pull", {"model": "hf.co/acme/none"})
    streams = json.loads(ask(serving, "GET", "/v1/streams"))["data"]
    assert b"deleted" in ask(serving, "DELETE", f"/v1/streams/{streams[0]['stream']}")
    time.sleep(1)


def unloaded(serving: Serving) -> None:
    """A created model that was asked stays in memory, with a socket of its own, until it is told
    to go.
    """
    for model in json.loads(ask(serving, "GET", "/api/ps"))["models"]:
        leave = {"model": model["name"], "keep_alive": 0}
        assert b"unload" in ask(serving, "POST", "/api/generate", leave)


def grown(before: list[str], after: list[str]) -> Counter[str]:
    """The files that are open now and weren't before. The database's connections are pooled: its
    own bound counts.
    """
    more = Counter(after) - Counter(before)
    for name in list(more):
        if "stores.sqlite" in name and after.count(name) <= STORE_CONNECTIONS:
            del more[name]
    return more


def settled(serving: Serving, tasks: int, files: list[str]) -> tuple[int, int, list[str]]:
    """Live runs, tasks and files, once they are back where they were, or after ten seconds."""
    now = (0, 0, list[str]())
    for _ in range(100):
        now = gauge(serving, "streams_live"), gauge(serving, "tasks"), open_files(serving)
        if now[0] == 0 and now[1] <= tasks and not grown(files, now[2]):
            break
        time.sleep(0.1)
    return now


def explored(folder: Path, seconds: int) -> None:
    for name in ("items.py", "schemathesis.toml"):
        shutil.copy(FOLDER / name, folder)  # it writes where it runs
    with penstock(folder / "server") as serving:
        warmed(serving)
        tasks, files = gauge(serving, "tasks"), open_files(serving)
        command: list[str | Path] = [VENVS / "schemathesis" / "bin" / "schemathesis", "--no-color"]
        command += ["run", f"{serving.url}/openapi.json", "--max-time", str(seconds)]
        done = run(command, serving, folder, seconds + 120)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-20000:]
        selected = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", said)
        assert selected is not None, said[-5000:]
        assert len(set(selected.groups())) == 1, selected
        unloaded(serving)
        live, now, left = settled(serving, tasks, files)
        assert live == 0
        assert now <= tasks
        assert grown(files, left) == {}
        assert serving.stop() == 0
        assert "Traceback" not in serving.said


@pytest.mark.timeout(240)
def test_a_minute_finds_nothing(tmp_path: Path):
    explored(tmp_path, 60)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_ten_minutes_find_nothing(tmp_path: Path):
    explored(tmp_path, 600)


def answers(operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = operation["responses"].get("200", {}).get("content", {})
    return found


@dataclass
class Published:
    """The description of a live server, and what of it belongs to one case."""

    document: dict[str, Any]

    def operation(self, call: Call) -> dict[str, Any]:
        path = call.route.path.replace(":path", "")
        found: dict[str, Any] = self.document["paths"][path][call.route.method.lower()]
        return found

    def cases(self, vector: DialectVector) -> Iterator[dict[str, Any]]:
        dialect: Dialect = registry.load("dialects", vector.dialect).Dialect()
        call = vector.call(dialect)
        operation = self.operation(call)
        bodies = operation.get("requestBody", {}).get("content", {})
        form = call.headers.get("content-type", "").startswith("multipart/")
        asked = bool(call.body) and not form and not vector.read("refused.json")
        if "application/json" in bodies and asked:
            schema = bodies["application/json"]["schema"]
            yield {"name": f"{vector}/request", "schema": schema, "value": json.loads(call.body)}
        told = answers(operation)
        rendered = answers(self.document["paths"]["/v1/streams/{id}/as/{dialect}"]["get"])
        for name in ("whole.json", "answer.json"):
            data = vector.read(name)
            if data is not None:
                # A route of the session chat either streams or doesn't; the log renders both.
                schema = told.get("application/json", rendered["application/json"])["schema"]
                yield {"name": f"{vector}/{name}", "schema": schema, "value": json.loads(data)}
        data = vector.read("response.body")
        if data is not None:
            kinds = [kind for kind in told if "itemSchema" in told[kind]]
            kind = kinds[0] if kinds else "text/event-stream"
            schema = told.get(kind, rendered[kind])["itemSchema"]
            yield {
                "name": f"{vector}/response",
                "schema": schema,
                "kind": kind,
                "content": data.decode(),
            }

    def errors(self, name: str) -> Iterator[dict[str, Any]]:
        """Every error of a dialect, held against the response of its status."""
        for answer in error_answers(VECTORS, name):
            if answer.code in ("wrong_method", "config"):
                continue  # no described route has them
            if answer.code == "session_busy" and name != "portal_chat":
                continue  # only it has sessions
            response = self.document["components"]["responses"][f"{name}.{answer.status}"]
            media = response["content"]["application/json"]
            value = json.loads(bytes(answer.body))
            yield {"name": f"{name}/{answer.code}", "schema": media["schema"], "value": value}


@pytest.mark.timeout(120)
def test_the_golden_vectors_obey_the_description(tmp_path: Path):
    with penstock(tmp_path / "server") as serving:
        with urllib.request.urlopen(serving.url + "/openapi.json", timeout=10) as answer:
            published = Published(json.load(answer))
        cases = [case for vector in dialect_vectors(VECTORS) for case in published.cases(vector)]
        for name in sorted(registry.names("dialects")):
            cases += published.errors(name)
        file = tmp_path / "cases.json"
        file.write_text(json.dumps({"document": published.document, "cases": cases}))
        python = VENVS / "schemathesis" / "bin" / "python"
        result = found(run([python, FOLDER / "vectors.py", file], serving, FOLDER, 100))
    assert result["wrong"] == {}
    assert result["checked"] == len(cases) > 400


def test_the_page_shows_what_is_left_out():
    page = (HERE.parents[1] / "docs" / "clients" / "outside.md").read_text()
    left_out = tomllib.loads((HERE / "left_out.toml").read_text())["schemathesis"]
    for entry in left_out:
        assert f"| `{entry['what']}` | {entry['reason']} |" in page
    config = tomllib.loads((FOLDER / "schemathesis.toml").read_text())
    assert {*config["checks"], *config["phases"]["fuzzing"]} == {e["what"] for e in left_out}
