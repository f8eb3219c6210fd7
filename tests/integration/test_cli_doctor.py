"""`penstock doctor` on set-ups that are broken in one way each."""

import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.integration.serving import Upstream, free_port
from typing_extensions import override

from penstock.cli.__main__ import main

Doctor = Callable[..., dict[str, dict[str, str]]]

REPLAY = '[bindings.x]\nengine = "openai"\nurl = "{url}"\nmodel = "m"\nkey = {{ env = "X_KEY" }}\n'


@pytest.fixture
def streams(tmp_path: Path) -> Path:
    found = tmp_path / "streams"
    found.mkdir(mode=0o700)
    return found


@pytest.fixture
def doctor(tmp_path: Path, streams: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Runs it on a configuration; findings by check, the worst of each. `status` is the exit's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("X_KEY", "sk-x")
    monkeypatch.chdir(tmp_path)

    def run(config: str, *words: str, port: int | None = None) -> dict[str, dict[str, str]]:
        head = f"[server]\nport = {port or free_port()}\n[streams]\nfolder = '{streams}'\n"
        path = tmp_path / "config.toml"
        path.write_text(head + config)
        done = CliRunner().invoke(main, ["doctor", "--json", *words], catch_exceptions=False)
        found: dict[str, dict[str, str]] = {"status": {"code": str(done.exit_code)}}
        for line in done.stdout.splitlines():
            finding = json.loads(line)
            if found.get(finding["check"], {}).get("state") != "broken":
                found[finding["check"]] = finding
        return found

    return run


@pytest.fixture
def dead() -> str:
    """A binding that can't answer; for tests about something else it is the only one broken."""
    return REPLAY.format(url=f"http://127.0.0.1:{free_port()}/v1")


def upstream_answering(head: bytes, body: bytes) -> Upstream:
    class Answering(Upstream):
        @override
        def _answer(self, connection: socket.socket) -> None:
            with connection:
                connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nconnection: close\r\n"
                    b"content-length: %d\r\n\r\n%s" % (head, len(body), body)
                )

    return Answering([[]])


def test_a_healthy_set_up(doctor: Doctor):
    server = upstream_answering(b"200 OK", b'{"object":"list","data":[{"id":"m"}]}')
    try:
        found = doctor(REPLAY.format(url=server.url + "/v1"))
    finally:
        server.close()
    assert found["status"]["code"] == "0", found
    assert found["binding x"]["found"] == "up: m"


def test_a_dead_upstream(doctor: Doctor, dead: str):
    found = doctor(dead)
    assert found["status"]["code"] == "1"
    assert found["binding x"]["state"] == "broken"
    assert "bindings.x.url" in found["binding x"]["fix"]
    assert {name for name, one in found.items() if one.get("state") == "broken"} == {"binding x"}


def test_a_wrong_key(doctor: Doctor):
    server = upstream_answering(b"401 X", b'{"error":{"message":"Incorrect API key: sk-x"}}')
    try:
        found = doctor(REPLAY.format(url=server.url + "/v1"))
    finally:
        server.close()
    assert found["binding x"]["state"] == "broken"
    assert found["binding x"]["fix"] == "check bindings.x.key, and bindings.x.url"
    assert "sk-x" not in str(found)


@pytest.mark.parametrize(
    "content", [None, b"", b"no GGUF at all", b"GGUF\x03\x00\x00\x00truncated"]
)
def test_a_bad_gguf(doctor: Doctor, tmp_path: Path, content: bytes | None):
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    found = doctor(f"[bindings.x]\nengine = 'llamacpp'\npath = '{path}'\n")
    assert found["status"]["code"] == "1"
    assert found["binding x"]["state"] == "broken"
    assert "bindings.x" in found["binding x"]["fix"]


def test_a_taken_port(doctor: Doctor, dead: str):
    with socket.create_server(("127.0.0.1", 0)) as other:
        found = doctor(dead, port=other.getsockname()[1])
    assert found["port"]["state"] == "broken"
    assert "[server] port" in found["port"]["fix"]


def test_an_unusable_folder(doctor: Doctor, streams: Path, dead: str):
    streams.rmdir()
    streams.write_text("a file")
    found = doctor(dead)
    assert found["log folder"]["state"] == "broken"


@pytest.mark.parametrize(
    ("folder", "said"), [("~no-one/x", "no home of that name"), ("/" + "a" * 300, "too long")]
)
def test_a_folder_that_can_be_none(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, folder: str, said: str
):
    monkeypatch.setenv("PENSTOCK_STREAMS__FOLDER", folder)
    assert said in doctor("")["log folder"]["found"]


def test_a_clock_that_runs_behind(doctor: Doctor, streams: Path, dead: str):
    (streams / "segments").mkdir()
    file = streams / "segments" / "note"
    file.write_text("")
    os.utime(file, (time.time() + 9999, time.time() + 9999))
    assert doctor(dead)["clock"]["state"] == "broken"


def test_an_index_of_another_version_is_found_and_made_anew(
    doctor: Doctor, streams: Path, dead: str
):
    with sqlite3.connect(streams / "index.sqlite") as index:
        index.execute("PRAGMA user_version = 99")
    index.close()
    found = doctor(dead)
    assert found["index"]["state"] == "broken"
    assert "--rebuild-index" in found["index"]["fix"]
    assert doctor(dead, "--rebuild-index")["index"]["state"] == "ok"
    assert doctor(dead)["index"]["state"] == "ok"


@pytest.mark.parametrize(
    ("config", "check", "said"),
    [
        ("[bindings.x]\nengine = 'opnai'\n", "bindings", "opnai"),
        ("[bindings.x]\nengine = 'openai'\nulr = 'x'\n", "bindings", "did you mean 'url'"),
        ("[bindings.x]\nurl = 'x'\n", "bindings", "bindings.x.engine: missing"),
        (
            "[bindings.x]\nengine = 'openai'\nurl = 'http://h:99999'\n",
            "bindings",
            "bindings.x.url: must begin with http",
        ),
        (
            "[bindings.x]\nengine = 'openai'\nurl = 'http://h/v1?token=4711'\n",
            "bindings",
            "bindings.x.url: must end with its path",
        ),
        (
            "[bindings.x]\nengine = 'openai'\nkey = '\u201ck\u201d'\n",
            "bindings",
            "bindings.x.key: holds",
        ),
        ("[timeouts]\nconect = 1\n", "configuration", "did you mean 'connect'"),
        ("[models.a]\nbinding = 'nope'\n", "bindings", "models.a.binding"),
        ("[paths]\npersonalities_folder = '/nowhere'\n", "personalities", "/nowhere"),
        ("[paths]\npersonalities_folder = '~no-one/x'\n", "personalities", "no home of that name"),
        ("[paths]\nmodels_folder = '~no-one/x'\n", "folders", "no home of that name"),
        ("[paths]\nfunctions_folder = '~no-one/x'\n", "folders", "no home of that name"),
        ("[bindings.x]\nengine = 'llamacpp'\npath = '~no-one/x'\n", "binding x", "is no path"),
    ],
)
def test_a_wrong_setting(doctor: Doctor, dead: str, config: str, check: str, said: str):
    found = doctor(config if "[bindings" in config else dead + config)
    assert found["status"]["code"] == "1"
    assert said in found[check]["found"]


def test_a_person_gets_marks_and_fixes(doctor: Doctor, dead: str):
    doctor(dead)
    shown = CliRunner().invoke(main, ["doctor"])
    assert shown.exit_code == 1
    assert "✓ port: " in shown.stdout
    assert "✗ binding x: " in shown.stdout
    assert "    to fix: " in shown.stdout
    assert shown.stdout.endswith("1 broken\n")
