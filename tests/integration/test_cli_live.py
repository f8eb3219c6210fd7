"""The command line with the embedded engine: in its own process, and against a live server."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.serving import ROOT, Serving, free_port, serve

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of its own, and a port where nobody listens."""
    (tmp_path / "home").mkdir()
    return {
        "HOME": str(tmp_path / "home"),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "PENSTOCK_SERVER__PORT": str(free_port()),
    }


def penstock(
    environment: dict[str, str], *words: str, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "penstock.cli", *words],
        env=environment,
        cwd=environment["HOME"],
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_without_a_server_stream_answers_in_this_process(environment: dict[str, str]):
    done = penstock(environment, "stream", "Tell me a story about a lighthouse.")
    assert done.returncode == 0, done.stderr
    assert "   - API: in this process" in done.stdout
    assert "lighthouse" in done.stdout.partition("=" * 50)[2]
    assert re.search(r"📊 Tokens received: \d\d", done.stdout)


def test_a_stream_of_this_process_is_listed_and_shown_again(environment: dict[str, str]):
    made = penstock(environment, "stream", "--json", "Hello!")
    lines = [json.loads(line) for line in made.stdout.splitlines()]
    text = "".join(line["text"] for line in lines if line["type"] == "text")
    stream = lines[-1]["stream"]
    assert stream in penstock(environment, "tail").stdout
    shown = penstock(environment, "tail", stream)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.strip() == text.strip()
    assert "[done: stop]" in shown.stderr
    rest = penstock(environment, "tail", stream, "--from", "3", "--json").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in rest] == list(range(3, 3 + len(rest)))
    unknown = penstock(environment, "tail", "nope")
    assert unknown.returncode == 1
    assert "`penstock tail` alone lists the newest" in unknown.stderr


def test_models_are_listed(environment: dict[str, str]):
    shown = penstock(environment, "models")
    assert re.search(r"penstock-demo +embedded +1024", shown.stdout)
    found = json.loads(penstock(environment, "models", "--json").stdout)
    assert found["models"][0]["name"] == "penstock-demo"


def test_an_unknown_model_is_an_error_that_says_what_to_do(environment: dict[str, str]):
    done = penstock(environment, "stream", "-m", "nope", "x")
    assert done.returncode == 1
    assert "`penstock models` lists what there is" in done.stderr


def test_chat_through_a_pipe(environment: dict[str, str]):
    typed = "Hello!\n/save talk.md\n/model\n/system Talk like a pirate.\nWho are you?\n/quit\nno\n"
    done = penstock(environment, "chat", typed=typed)
    assert done.returncode == 0, done.stderr
    assert "penstock-demo" in done.stdout
    assert "system prompt: Talk like a pirate." in done.stderr
    saved = (Path(environment["HOME"]) / "talk.md").read_text()
    assert saved.count("**You:**") == 1
    assert saved.rpartition("**Model:**\n\n")[2].strip() in done.stdout
    again = penstock(environment, "chat", typed="/save talk.md\n")
    assert again.returncode == 1
    assert "is there already" in again.stderr


# ── with a server ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    config = '[security]\nallowed_api_keys = ["sk-local"]\n'
    with serve(tmp_path_factory.mktemp("server"), config) as serving:
        yield serving


@pytest.fixture
def beside(server: Serving, environment: dict[str, str]) -> dict[str, str]:
    """The environment of a user of that server."""
    return environment | {"PENSTOCK_SERVER__PORT": str(server.port), "PENSTOCK_KEY": "sk-local"}


def test_the_server_is_found_and_used(server: Serving, beside: dict[str, str]):
    done = penstock(beside, "stream", "Hello!")
    assert done.returncode == 0, done.stderr
    assert f"   - API: {server.url}/v1" in done.stdout
    stream = json.loads(penstock(beside, "stream", "--json", "Hello!").stdout.splitlines()[-1])[
        "stream"
    ]
    assert stream in penstock(beside, "tail").stdout
    assert "[done: stop]" in penstock(beside, "tail", stream).stderr
    assert "penstock-demo" in penstock(beside, "models").stdout


def test_without_the_key_it_says_where_to_put_it(beside: dict[str, str]):
    done = penstock(beside | {"PENSTOCK_KEY": ""}, "stream", "Hello!")
    assert done.returncode == 1
    assert "PENSTOCK_KEY" in done.stderr
    wrong = penstock(beside | {"PENSTOCK_KEY": "sk-wrong"}, "models")
    assert wrong.returncode == 1
    assert "sk-wrong" not in wrong.stdout + wrong.stderr


def test_the_banner_says_it_all_and_its_line_streams(server: Serving):
    said = server.said
    for word in (
        f"listens on {server.url}", str(server.streams), "embedded (llamacpp) up: penstock-demo",
        "needed; put one of [security]'s or of `penstock keys` into PENSTOCK_KEY",
    ):  # fmt: skip
        assert word in said
    (line,) = [line.strip() for line in said.splitlines() if line.strip().startswith("curl -N ")]
    done = subprocess.run(
        ["sh", "-c", line],
        env={"PATH": os.environ["PATH"], "PENSTOCK_KEY": "sk-local"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.count("data: {") > 5
    assert done.stdout.endswith("data: [DONE]\n\n")


def test_a_taken_port_ends_serve_with_one_line(server: Serving, tmp_path: Path):
    environment = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
    }
    done = penstock(environment, "serve", "--port", str(server.port))
    assert done.returncode == 1
    assert "server.port" in done.stderr or "can't listen" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("host", ["", "a" * 64, "a b"])
def test_a_host_that_is_none_ends_serve_with_one_line(environment: dict[str, str], host: str):
    done = penstock(environment, "serve", "--insecure", "--host", host)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "server.host: " in line or f"can't listen on {host}:" in line


def test_the_open_network_needs_a_key(environment: dict[str, str]):
    done = penstock(environment, "serve", "--host", "0.0.0.0")
    assert done.returncode == 1
    assert "allowed_api_keys" in done.stderr
