"""`examples/lollms` and `examples/llmaas`: the scripts that other projects' documents describe."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.serving import ROOT, Serving, serve

KEY = "user1_key_abc123"
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    config = f'[security]\nallowed_api_keys = ["{KEY}"]\n'
    with serve(tmp_path_factory.mktemp("server"), config) as serving:
        yield serving


def run(
    folder: Path, script: str, *words: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / script), *words],
        env={"HOME": str(folder), "PATH": os.environ["PATH"], **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_streaming_client_of_lollms(server: Serving, tmp_path: Path):
    url = f"{server.url}/api/v1"
    done = run(tmp_path, "lollms/streaming_client.py", BASE_URL=url)
    assert done.returncode == 0, done.stderr
    text, _, rest = done.stdout.partition("\n--- Stream Finished ---\n")
    assert len(text.split()) > 10
    assert "request_id" in rest
    refused = run(tmp_path, "lollms/streaming_client.py", BASE_URL=url, API_KEY="wrong")
    assert refused.returncode == 1
    assert refused.stderr.startswith("403") or refused.stderr.startswith("401")


@pytest.fixture
def config(server: Serving, tmp_path: Path) -> Path:
    """As the document says: the example is copied, and the token edited."""
    told = json.loads((EXAMPLES / "llmaas/config.example.json").read_text())
    told["api"] = {"endpoint": f"{server.url}/v1", "token": KEY}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(told))
    return path


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--model", "penstock-demo"),
        ("--debug",),
        ("Explain the concept of streaming in computer science",),
        ("--model", "penstock-demo", "--debug", "Tell me a story"),
    ],
)
def test_the_streaming_demonstration(config: Path, words: tuple[str, ...]):
    done = run(config.parent, "llmaas/streaming_demo.py", *words)
    assert done.returncode == 0, done.stderr
    assert "✅ Streaming finished!" in done.stdout
    assert ("raw: b" in done.stdout) is ("--debug" in words)
    assert KEY not in done.stdout


def test_the_streaming_demonstration_names_what_is_missing(config: Path):
    told = json.loads(config.read_text())
    del told["defaults"]["timeout"]
    config.write_text(json.dumps(told))
    done = run(config.parent, "llmaas/streaming_demo.py")
    assert done.returncode == 1
    assert "defaults.timeout is missing" in done.stderr
    done = run(config.parent, "llmaas/streaming_demo.py", "-c", "none.json")
    assert "copy config.example.json" in done.stderr
