"""`penstock stream` against endpoints that misbehave: what it says, and its exit status."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.integration.serving import END, FINISH, ROOT, SSE_HEAD, Upstream, free_port, piece, said

from penstock.cli.__main__ import main

KEY = "sk-very-secret"
USAGE = piece(b'data: {"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":77}}\n\n')


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def upstream(*script: bytes | float | str) -> Iterator[Upstream]:
    found = Upstream([script])
    try:
        yield found
    finally:
        found.close()


def configure(url: str, timeout: float = 20, key: str = KEY) -> None:
    found = {
        "api": {"endpoint": f"{url}/v1", "token": key},
        "defaults": {"model": "m", "timeout": timeout},
    }
    Path("config.json").write_text(json.dumps(found))


def run(script: Sequence[bytes | float | str], *words: str, timeout: float = 20) -> Result:
    with upstream(*script) as server:
        configure(server.url, timeout)
        return CliRunner().invoke(main, ["stream", *words], catch_exceptions=False)


def refused(status: bytes, body: bytes, extra: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\n%s" % (status, extra)
    return head + b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


GOOD: list[bytes | float | str] = [SSE_HEAD, said("Once "), 0.1, said("upon"), USAGE, FINISH, END]


def test_the_display_has_the_order_of_the_demonstration():
    found = run(GOOD, "Tell me.")
    assert found.exit_code == 0
    order = [
        "🔧 Configuration:", "   - API: http://127.0.0.1:", "   - Model: m",
        "   - Streaming: Enabled (SSE)", "🚀 Penstock streaming demonstration", "📊 Model: m",
        "💭 Question: Tell me.", "🎬 Streaming response:", "=" * 50, "Once upon", "=" * 50,
        "✅ Streaming finished!", "📊 Tokens received: 77", "⏱️  Duration: ", "🚀 Speed: ",
        "⚡ First token: ", "📏 Gap between pieces: p50 ",
    ]  # fmt: skip
    place = 0
    for piece_ in order:
        place = found.stdout.index(piece_, place) + 1
    assert found.stderr == ""


@pytest.mark.parametrize("words", [[], [""]], ids=["none", "empty"])
def test_without_a_prompt_it_asks_the_demonstrations(words: list[str]):
    with upstream(*GOOD) as server:
        configure(server.url)
        CliRunner().invoke(main, ["stream", *words])
        (request,) = server.requests
    sent = json.loads(request.partition(b"\r\n\r\n")[2])
    assert sent["messages"][0]["content"].startswith("Write a short story about a robot")
    assert list(sent)[:5] == ["model", "messages", "stream", "max_tokens", "temperature"]
    assert (sent["max_tokens"], sent["temperature"]) == (300, 0.8)
    assert f"authorization: bearer {KEY}" in request.decode().lower()


def test_flags_win_over_the_file():
    with upstream(*GOOD) as server:
        configure(server.url)
        words = [
            "-m",
            "n",
            "--system",
            "Be brief.",
            "--max-tokens",
            "5",
            "--temperature",
            "0",
            "Hi",
        ]
        CliRunner().invoke(main, ["stream", *words])
        sent = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    assert (sent["model"], sent["max_tokens"], sent["temperature"]) == ("n", 5, 0.0)
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]


def test_without_usage_chunks_are_called_chunks():
    found = run([SSE_HEAD, said("a"), said("b"), FINISH, END], "x")
    assert "📊 Chunks received: 2 (the server counted no tokens)" in found.stdout
    assert "chunks/s" in found.stdout


@pytest.mark.parametrize(
    ("status", "body", "extra", "said_"),
    [
        (b"401 X", b'{"error":{"message":"bad key sk-very-secret"}}', b"", "api.token"),
        (b"404 X", b'{"error":{"message":"no such model"}}', b"", "check the model's name"),
        (b"429 X", b'{"error":{"message":"slow down"}}', b"retry-after: 9\r\n", "try again in 9 s"),
        (b"500 X", b"boom", b"", "the server failed"),
    ],
)
def test_a_refusal_is_said_with_what_to_do(status: bytes, body: bytes, extra: bytes, said_: str):
    found = run([refused(status, body, extra)], "x", "--debug")
    assert found.exit_code == 1
    assert said_ in found.stderr
    assert KEY not in found.output
    assert "Streaming finished" not in found.stdout


@pytest.mark.parametrize(
    ("script", "said_"),
    [
        ([SSE_HEAD, said("Half"), "reset"], "was cut"),
        ([SSE_HEAD, said("Half"), END], "without saying that it was finished"),
        ([SSE_HEAD, said("Half"), piece(b'data: {"error":{"message":"melted"}}\n\n'), END],
         "melted"),
        ([SSE_HEAD, said("Half"), "stall"], "in the middle of the answer; raise the timeout"),
    ],
)  # fmt: skip
def test_an_answer_that_breaks_is_no_success_and_what_arrived_is_said(
    script: list[bytes | str], said_: str
):
    found = run(script, "x", timeout=0.5)
    assert found.exit_code == 1
    assert said_ in found.stderr
    assert "Half" in found.stdout
    assert "❌ Streaming failed. What arrived:" in found.stdout
    assert "Chunks received: 1" in found.stdout


def test_silence_before_the_first_token_is_said():
    found = run([SSE_HEAD, "stall"], "x", timeout=0.5)
    assert found.exit_code == 1
    assert "no first token within 0.5 s" in found.stderr
    assert "defaults.timeout" in found.stderr


def test_nobody_there():
    configure(f"http://127.0.0.1:{free_port()}")
    found = CliRunner().invoke(main, ["stream", "x"])
    assert found.exit_code == 1
    assert "is the server running there?" in found.stderr


def test_without_done_but_with_a_finish_it_is_whole():
    found = run([SSE_HEAD, said("All"), FINISH.replace(b"data: [DONE]", b": that's all"), END], "x")
    assert found.exit_code == 0


def test_a_malformed_event_is_counted_skipped_and_shown_when_debugging():
    script = [SSE_HEAD, piece(b"data: {oops\n\n"), said("fine"), FINISH, END]
    found = run(script, "x")
    assert found.exit_code == 0
    assert "Malformed events skipped: 1" in found.stdout
    shown = run(script, "x", "-d").stdout
    assert "[raw] {oops" in shown
    assert "[malformed, skipped] not valid JSON" in shown


def test_nothing_but_malformed_events_is_a_failure():
    found = run([SSE_HEAD, piece(b"data: {oops\n\n"), piece(b"data: [DONE]\n\n"), END], "x")
    assert found.exit_code == 1
    assert "nothing but malformed events arrived (1)" in found.stderr


def test_debug_shows_all_but_the_key():
    shown = run(GOOD, "x", "--debug").stdout
    for word in (
        '"token": "***"', "Bearer ***", "[payload]", '"stream": true', "[response_headers]",
        "[raw] {", '[event] {"type":"text"', '"tokens": 77', '"duree_s":', '"vitesse_tps":',
        '"duration_s":', '"tokens_per_second":',
    ):  # fmt: skip
        assert word in shown
    assert KEY not in shown


def test_debug_shows_no_password_of_an_address():
    with upstream(*GOOD) as server:
        address = server.url.replace("//", "//me:s3cret@")
        config = {"api": {"endpoint": f"{address}/v1"}, "defaults": {"model": "m"}}
        Path("config.json").write_text(json.dumps(config))
        found = CliRunner().invoke(main, ["stream", "x", "--debug"])
        (request,) = server.requests
    assert found.exit_code == 0, found.output
    assert b"authorization: basic bwu6cznjcmv0\r\n" in request.lower()
    assert '"endpoint": "http://***@127.0.0.1:' in found.stdout
    assert "s3cret" not in found.output


def test_json_is_one_object_a_line():
    found = run(GOOD, "x", "--json", "--debug")
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert [line["type"] for line in lines] == ["text", "text", "usage", "done", "statistics"]
    assert (lines[-1]["outcome"], lines[-1]["tokens"]) == ("finished", 77)
    assert "[payload]" in found.stderr
    assert KEY not in found.output
    failed = run([SSE_HEAD, said("Half"), END], "x", "--json")
    assert failed.exit_code == 1
    assert json.loads(failed.stdout.splitlines()[-1])["outcome"] == "failed"


def test_a_terminal_is_not_driven_by_a_model():
    found = run([SSE_HEAD, said("a\\u001b]0;owned\\u0007b"), FINISH, END], "x")
    assert "\x1b]0" not in found.stdout
    assert "]0;ownedb" in found.stdout


@pytest.mark.parametrize(
    ("text", "said_"),
    [
        ('{"api": {}}', "api.endpoint: missing"),
        ('{"api": {"endpoint": "http://x/v1"}}', "defaults.model: missing"),
        ('{"api": {"endpoint": "x"}}', "api.endpoint: 'x' is no address"),
        ('{"api": {"endpoint": "http://a:secret@[b"}}', "api.endpoint: this is no address"),
        ('{"api": {"endpoint": "http://a?secret"}}', "(in config.json)"),
        ("{", "config.json: not valid JSON"),
    ],
)
def test_a_bad_configuration_is_named(text: str, said_: str):
    Path("config.json").write_text(text)
    found = CliRunner().invoke(main, ["stream", "x"])
    assert found.exit_code == 1
    assert said_ in found.stderr
    assert "secret" not in found.stderr


@pytest.mark.parametrize("command", ["models", "tail", "tail abc", "image --stream abc"])
def test_an_address_where_nobody_or_somebody_else_is_is_said_at_once(command: str):
    Path("config.json").write_text(f'{{"api": {{"endpoint": "http://127.0.0.1:{free_port()}"}}}}')
    found = CliRunner().invoke(main, command.split())
    assert found.exit_code == 1
    assert "is the server running there?" in found.stderr
    with upstream() as server:  # of any GET it makes a list of models that no stream has
        Path("config.json").write_text(f'{{"api": {{"endpoint": "{server.url}"}}}}')
        found = CliRunner().invoke(main, command.split())
    if command == "models":
        assert "scripted" in found.stdout
    else:
        assert f"what {server.url}/v1 answers makes no sense; check the address" in found.stderr


@pytest.mark.parametrize("command", ["models", "tail", "doctor"])
@pytest.mark.parametrize("host", ["[", "a" * 64])
def test_a_host_that_is_none_is_named(command: str, host: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PENSTOCK_SERVER__HOST", host)
    found = CliRunner().invoke(main, [command])
    assert found.exit_code == 1
    assert "server.host: " in found.stderr or "[server] host" in found.stdout


def test_a_missing_configuration_is_named():
    found = CliRunner().invoke(main, ["stream", "-c", "none.json", "x"])
    assert found.exit_code == 1
    assert "none.json: there is no such file" in found.stderr


def test_the_example_is_printed():
    found = CliRunner().invoke(main, ["stream", "--example"])
    assert found.exit_code == 0
    assert json.loads(found.stdout)["defaults"]["max_tokens"] == 300


def test_the_environments_proxy_is_on_the_way_to_an_endpoint(monkeypatch: pytest.MonkeyPatch):
    with upstream(*GOOD) as proxy:
        configure("http://models.example:8080")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("http_proxy", f"http://me:s%20cret@127.0.0.1:{proxy.port}")
        found = CliRunner().invoke(main, ["stream", "x", "--debug"])
        (asked,) = proxy.requests
    assert found.exit_code == 0, found.output
    assert asked.startswith(b"POST http://models.example:8080/v1/chat/completions HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6cyBjcmV0\r\n" in asked
    assert "cret" not in found.output.replace("very-secret", "")


@pytest.mark.parametrize("proxy", ["http://me:hidden@host:port", "http://me:hidden@127.0.0.1:1"])
def test_a_proxy_that_is_none_or_is_away_is_said(monkeypatch: pytest.MonkeyPatch, proxy: str):
    configure("http://models.example:8080")
    monkeypatch.setenv("http_proxy", proxy)
    found = CliRunner().invoke(main, ["stream", "x"])
    assert found.exit_code == 1
    assert "http_proxy: " in found.stderr or "nothing answers at" in found.stderr
    assert "hidden" not in found.output


def test_ctrl_c_says_what_arrived_and_leaves_the_server():
    with upstream(SSE_HEAD, said("Once "), said("upon"), "stall") as server:
        configure(server.url)
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock.cli", "stream", "x"],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        seen = b""
        while b"upon" not in seen:
            seen += os.read(process.stdout.fileno(), 65536)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert server.gone.wait(10)
    shown = (seen + out).decode()
    assert process.returncode == 130
    assert "Stopped by Ctrl-C. What arrived:" in shown
    assert re.search(r"Chunks received: 2 ", shown)
    assert err == b""
