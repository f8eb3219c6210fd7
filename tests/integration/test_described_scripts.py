"""`examples/lollms` and `examples/llmaas`: the scripts that other projects' documents describe.

Each behaviour that 000_9cc721f4a5c3b723.txt, 001_f7167a16834d1e4f.txt and 003_450f47af7a2dcf49.txt
list is asked of the script here: in a process of its own, against a live gateway; against a
scripted server where it is about what a gateway never does.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from tests.integration.images_server import KEY as PAINTERS_KEY
from tests.integration.images_server import images_server
from tests.integration.serving import (
    END,
    FINISH,
    ROOT,
    SSE_HEAD,
    Serving,
    Upstream,
    free_port,
    piece,
    said,
    serve,
    start,
)

KEY = "user1_key_abc123"  # the one that lollms' example clients carry
EXAMPLES = ROOT / "examples"
THOUGHTFUL = (
    '{"type":"progress","what":"loading"}\n'
    '{"type":"reasoning","part":0,"text":"Hm. "}\n'
    '{"type":"text","part":1,"text":"one "}\n'
    '{"type":"text","part":1,"text":"two"}\n'
    '{"type":"done","reason":"stop"}\n'
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The demo model, also under every name that a document has for one; and two recordings."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "thoughtful.jsonl").write_text(THOUGHTFUL)
    config = (
        f'[security]\nallowed_api_keys = ["{KEY}"]\n'
        '[defaults]\nttt_binding = "embedded"\n'
        '[bindings.embedded]\nengine = "llamacpp"\n[models."*"]\nbinding = "embedded"\n'
    )
    for name, more in (("recorded", ""), ("broken", "fail_after = 4\n")):
        config += (
            f'[bindings.{name}]\nengine = "replay"\npath = "{folder}"\nmodel = "thoughtful"\n'
            f"speed = 0\n{more}"
        )
    with serve(folder, config) as serving:
        yield serving


def environment(folder: Path, **variables: str) -> dict[str, str]:
    return {"HOME": str(folder), "PATH": os.environ["PATH"], **variables}


def run(
    folder: Path, script: Path | str, *words: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / script), *words],
        env=environment(folder, **variables),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


# ── 000: lollms' streaming client ────────────────────────────────────────────────────────────────


def edited(folder: Path, payload: str) -> Path:
    """The script with other entries in its payload, as the document has it edited."""
    text = (EXAMPLES / "lollms/streaming_client.py").read_text()
    entry = '"personality": None,'
    assert text.count(entry) == 1
    path = folder / "streaming_client.py"
    path.write_text(text.replace(entry, payload))
    return path


def test_the_streaming_client_of_lollms(server: Serving, tmp_path: Path):
    url = f"{server.url}/api/v1"
    done = run(tmp_path, "lollms/streaming_client.py", BASE_URL=url)
    assert done.returncode == 0, done.stderr
    text, _, rest = done.stdout.partition("\n--- Stream Finished ---\n")
    assert len(text.split()) > 10
    assert "request_id" in rest
    refused = run(tmp_path, "lollms/streaming_client.py", BASE_URL=url, API_KEY="wrong")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("401: ")


def test_the_streaming_clients_payload(server: Serving, tmp_path: Path):
    url = f"{server.url}/api/v1"
    script = edited(
        tmp_path,
        '"personality": "my_coolbot", "model_name": "penstock-demo", "binding_name": "embedded",',
    )
    done = run(tmp_path, script, BASE_URL=url)
    assert done.returncode == 0, done.stderr
    assert "\n--- Stream Finished ---\n" in done.stdout
    for entry in ('"binding_name": "nobody"', '"personality": "nobody"'):
        done = run(tmp_path, edited(tmp_path, f"{entry},"), BASE_URL=url)
        assert done.returncode == 1
        assert done.stderr.startswith("404: ")
        assert "nobody" in done.stderr


def test_the_streaming_client_tells_all_kinds_of_events(server: Serving, tmp_path: Path):
    """`info` and `chunk` and `final`; then `error`. What a model thinks is no text."""
    url = f"{server.url}/api/v1"
    done = run(tmp_path, edited(tmp_path, '"binding_name": "recorded",'), BASE_URL=url)
    assert (done.returncode, done.stderr) == (0, "[loading model]\n")
    assert done.stdout.startswith("one two\n--- Stream Finished ---\nFinal Metadata: {")
    done = run(tmp_path, edited(tmp_path, '"binding_name": "broken",'), BASE_URL=url)
    assert (done.returncode, done.stdout) == (1, "one two")
    assert done.stderr.startswith("[loading model]\n\nError: ")


# ── 001: LLMaaS' streaming demonstration ─────────────────────────────────────────────────────────

DEMO = "llmaas/streaming_demo.py"
PROMPT = "Write a short story about a robot discovering art."


def configure(folder: Path, url: str, **defaults: object) -> Path:
    """As the document says: the example is copied, and the token edited."""
    told = json.loads((EXAMPLES / "llmaas/config.example.json").read_text())
    told["api"] = {"endpoint": f"{url}/v1", "token": KEY}
    told["defaults"] |= defaults
    path = folder / "config.json"
    path.write_text(json.dumps(told))
    return path


@pytest.fixture
def config(server: Serving, tmp_path: Path) -> Path:
    return configure(tmp_path, server.url)


@pytest.mark.parametrize(
    ("words", "model", "question"),
    [
        ((), "default", PROMPT),
        (("--model", "gemma3:4b"), "gemma3:4b", PROMPT),
        (("--debug",), "default", PROMPT),
        (
            ("Explain the concept of streaming in computer science",),
            "default",
            "Explain the concept of streaming in computer science",
        ),
        (
            ("--model", "granite3.3:8b", "--debug", "Tell me a story"),
            "granite3.3:8b",
            "Tell me a story",
        ),
    ],
)
def test_the_streaming_demonstration(
    server: Serving, config: Path, words: Sequence[str], model: str, question: str
):
    """The document's own command lines, shown as it shows them."""
    done = run(config.parent, DEMO, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        f"🔧 Configuration:\n   - API: {server.url}/v1\n   - Model: {model}\n"
        "   - Streaming: Enabled (SSE)\n\n🚀 LLMaaS Streaming Demonstration\n"
        f"📊 Model: {model}\n💭 Question: {question}\n\n"
    )
    line = "=" * 50
    shown = re.search(
        rf"🎬 Streaming Response:\n{line}\n(.*\w.*)\n{line}\n✅ Streaming finished!\n"
        r"📊 Tokens received: (\d+)\n⏱️  Duration: (\d+\.\d\d)s\n🚀 Speed: \d+\.\d tokens/s\n",
        done.stdout,
        re.DOTALL,
    )
    assert shown is not None, done.stdout
    assert int(shown[2]) > 5
    assert ("raw: b" in done.stdout) is ("--debug" in words)
    assert KEY not in done.stdout


def test_the_debug_mode_of_the_demonstration(config: Path):
    done = run(config.parent, DEMO, "--debug", "Hello!")
    assert done.returncode == 0, done.stderr
    payload = json.loads(done.stdout.partition("request: ")[2].partition("\nresponse: 200 ")[0])
    assert payload == {
        "model": "default",
        "messages": [{"role": "user", "content": "Hello!"}],
        "stream": True,
        "max_tokens": 300,
        "temperature": 0.8,
    }
    headers = re.search(r"^response: 200 (\{.*\})$", done.stdout, re.MULTILINE)
    assert headers is not None
    assert json.loads(headers[1])["content-type"].startswith("text/event-stream")
    raw = re.findall(r"^raw: b'data: (\{.*\})'$", done.stdout, re.MULTILINE)
    parsed = re.findall(r"^parsed: (.*)$", done.stdout, re.MULTILINE)
    assert len(raw) == len(parsed) > 3
    contents = re.findall(r"^content: (['\"].+['\"])$", done.stdout, re.MULTILINE)
    statistics = json.loads(done.stdout.splitlines()[-1])
    assert list(statistics) == ["tokens", "duree_s", "vitesse_tps"]
    assert statistics["tokens"] == len(contents)


def test_the_demonstrations_help_has_examples_of_its_usage(tmp_path: Path):
    done = run(tmp_path, DEMO, "-h")
    assert done.returncode == 0
    for option in ("--model", "--debug", "--config", "prompt"):
        assert option in done.stdout
    assert 'python streaming_demo.py --model granite3.3:8b --debug "Tell me a story"' in done.stdout
    assert run(tmp_path, DEMO, "--speed").returncode == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "config.json is not JSON"),
        ("[]", "api.endpoint is missing"),
        (
            '{"api": {"endpoint": "http://127.0.0.1:9/v1", "token": ""}}',
            "defaults.model is missing",
        ),
        ('{"api": {"endpoint": 3, "token": ""}}', "api.endpoint can't be 3"),
    ],
)
def test_the_demonstration_names_what_is_wrong_with_its_configuration(
    tmp_path: Path, text: str, complaint: str
):
    (tmp_path / "config.json").write_text(text)
    done = run(tmp_path, DEMO)
    assert (done.returncode, done.stdout) == (1, "")
    assert complaint in done.stderr
    done = run(tmp_path, DEMO, "--config", "none.json")
    assert done.returncode == 1
    assert "none.json: " in done.stderr
    assert "copy config.example.json" in done.stderr


def test_the_demonstration_tells_a_refusal(server: Serving, config: Path):
    config.write_text(config.read_text().replace(KEY, "wrong"))
    done = run(config.parent, DEMO)
    assert done.returncode == 1
    assert done.stderr.startswith("❌ HTTP 401: ")
    assert "finished" not in done.stdout


def test_the_demonstration_tells_that_nobody_is_there(tmp_path: Path):
    configure(tmp_path, f"http://127.0.0.1:{free_port()}")
    done = run(tmp_path, DEMO)
    assert done.returncode == 1
    assert "❌ Connection error: " in done.stderr
    assert "Traceback" not in done.stderr


BROKEN = [
    piece(b"data: {not JSON\n\n"),
    piece(b"data: null\n\n"),
    piece(b'data: {"choices":[{"delta":null}]}\n\n'),
    piece(b"data: \xff\n\n"),
]
HARMLESS = [
    piece(b": ping\n\n"),
    piece(b"event: message\n"),
    piece(b'data: {"choices":[],"usage":{"completion_tokens":2}}\n\n'),
]


def test_the_demonstration_leaves_malformed_events_out(tmp_path: Path):
    script = [SSE_HEAD, said("one "), *BROKEN, *HARMLESS, said("two"), FINISH, END]
    with closing(Upstream([script])) as upstream:
        configure(tmp_path, upstream.url)
        done = run(tmp_path, DEMO)
        assert done.returncode == 0, done.stderr
        assert "=\none two\n=" in done.stdout
        assert "Tokens received: 2\n" in done.stdout
        assert done.stderr == "⚠️  Malformed events left out: 4\n"
        assert run(tmp_path, DEMO, "--debug").stdout.count("\nmalformed: ") == 4


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ([SSE_HEAD, *BROKEN, FINISH, END], "nothing else arrived"),
        ([SSE_HEAD, said("one "), END], "the stream was cut off"),
        (
            [SSE_HEAD, said("one "), piece(b'data: {"error":{"message":"no luck"}}\n\n'), END],
            "luck",
        ),
        ([SSE_HEAD, said("one "), 0.1, "reset"], "Connection error: "),
        ([SSE_HEAD, said("one "), "stall"], "timed out"),
        (["stall"], "timed out"),
    ],
)
def test_the_demonstration_tells_what_is_not_whole(
    tmp_path: Path, script: Sequence[bytes | float | str], complaint: str
):
    with closing(Upstream([script])) as upstream:
        configure(tmp_path, upstream.url, timeout=0.5)
        done = run(tmp_path, DEMO)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert "finished" not in done.stdout
    assert ("=\none " in done.stdout) is (said("one ") in script)


def test_the_demonstration_shows_tokens_at_once_and_ends_at_ctrl_c(tmp_path: Path):
    with closing(Upstream([[SSE_HEAD, said("one "), "stall"]])) as upstream:
        configure(tmp_path, upstream.url)
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / DEMO)],
            env=environment(tmp_path, PYTHONIOENCODING="utf-8"),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            assert process.stdout is not None
            assert process.stderr is not None
            shown = b""
            while not shown.endswith(b"=\none "):  # the server says no more: it is there now
                byte = process.stdout.read(1)
                assert byte, shown
                shown += byte
            process.send_signal(signal.SIGINT)
            assert process.stdout.read().decode() == "\n⏹️  Stopped.\n"
            assert process.stderr.read() == b""
        assert upstream.gone.wait(5)


# ── 003: lollms' image client ────────────────────────────────────────────────────────────────────


async def test_the_image_client_of_lollms(tmp_path: Path):
    """By a binding of the name that it asks for; tests/images has it drawn by the demo model."""
    async with images_server() as painter:
        config = (
            f'[security]\nallowed_api_keys = ["{KEY}"]\n'
            f'[bindings.my_dalle_binding]\nengine = "openai_images"\nurl = "{painter.url}"\n'
            f'key = "{PAINTERS_KEY}"\nmodel = "dall-e-3"\n'
        )
        server = await asyncio.to_thread(start, tmp_path / "server", config)
        try:
            script, url = "lollms/image_client.py", f"{server.url}/api/v1"
            done = await asyncio.to_thread(run, tmp_path, script, BASE_URL=url)
            refused = await asyncio.to_thread(run, tmp_path, script, BASE_URL=url, API_KEY="wrong")
        finally:
            await asyncio.to_thread(server.stop)
    assert done.returncode == 0, done.stdout + done.stderr
    (saved,) = (tmp_path / "generated_images").iterdir()
    assert re.fullmatch(r"generated_image_\d{8}-\d{6}\.png", saved.name)
    assert saved.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    printed, _, where = done.stdout.rpartition("Image saved successfully to: ")
    assert where == f"generated_images/{saved.name}\n"
    told = json.loads(printed)
    assert "image_base64" not in told
    assert len(printed) < 4000  # no second copy of the picture either
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("401: ")
    (asked,) = painter.asked
    assert str(asked.fields["prompt"]).startswith("Impressionist painting of a cat programmer")
