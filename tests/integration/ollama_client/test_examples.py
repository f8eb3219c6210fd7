"""Every program of the streaming guide, and ours beside them, against a live gateway."""

import dataclasses
import json
import os
import re
import runpy
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from tests.integration.serving import ROOT, Serving, Upstream, free_port, serve

from penstock import ollama_client

FOLDER = ROOT / "examples/ollama_client"
GUIDE = ROOT / "tests/vectors/ollama_client/streaming_guide.txt"
"""The whole document 004_2b59f6b9ee5f5fdc.txt, "Streaming Responses", as it is."""
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [match[1] for match in BLOCK.finditer(GUIDE.read_text())]
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.name != "given.py")
COPIED = [path for path in SCRIPTS if "from the streaming guide" in path.read_text()]
LOOKING = [
    path
    for path in SCRIPTS
    if 'f"Error: {chunk.error}"' in path.read_text().replace("\\n", "")
    or path.stem == "error_handling"
]
KEY = "pk-of-the-guides-reader"

RUNS = {"stream_chunk": 0, "model_response": 0, "flush": 0, "longer_timeout": 0} | {
    "benchmark": 2,
    "interactive_chat": 2,
    "old_and_new_code": 2,
    "many_at_once": 3,
}
"""How often a program asks, where that is not once."""


def progress(said: str, _: Sequence[str]) -> bool:
    return bool(re.fullmatch(r"Generating response\.+\n\nComplete response received!\n", said))


def collected(said: str, texts: Sequence[str]) -> bool:
    found = re.match(r"Generated (\d+) chunks\n", said)
    rest = f"Total length: {len(texts[0])} characters\n\nResponse:\n{texts[0]}\n"
    return found is not None and int(found[1]) > 2 and said == found[0] + rest


def counted(said: str, texts: Sequence[str]) -> bool:
    text, _, tokens = said.rpartition("\n\nApproximate tokens: ")
    return text == texts[0] and int(tokens) >= len(texts[0].split())


def measured(said: str, _: Sequence[str]) -> bool:
    seconds = r"\d+\.\d\ds"
    lines = ("Non-streaming", "total"), ("Streaming", "to first token"), ("Streaming", "total")
    return bool(re.fullmatch("".join(f"{one}: {seconds} {two}\n" for one, two in lines), said))


def wound(said: str, texts: Sequence[str]) -> bool:
    rest = texts[0][8:]
    return said == (
        f"All of it: {texts[0]}\nFrom the ninth character: {rest}\nThe same, on record: {rest}\n"
    )


def all_answered(said: str, texts: Sequence[str]) -> bool:
    return said.count(" -> ") == 3 and all(f" -> {text}\n" in said for text in texts)


def what_was_left(said: str, texts: Sequence[str]) -> bool:
    found = re.fullmatch(r"(Whole:|.* timed out .*\. Until then:) (.*)\n", said, re.DOTALL)
    return found is not None and texts[0].startswith(found[2])


def events(said: str, texts: Sequence[str]) -> bool:
    blocks = said.split("\n\n")
    if blocks.pop() or not all(re.fullmatch(r'data: \{"content": ".*"\}', one) for one in blocks):
        return False
    return len(blocks) > 1 and "".join(json.loads(one[6:])["content"] for one in blocks) == texts[0]


SAYS: dict[str, str | Callable[[str, Sequence[str]], bool]] = {
    "stream_in_real_time": "{0}\n",
    "collect_all": "{0}\n",
    "not_streaming": "{0}\n",
    "stream_chunk": "",
    "model_response": "",
    "interactive_chat": "\nYou: Assistant: {0}\n\nYou: Assistant: {1}\n\nYou: ",
    "progress_indicator": progress,
    "collect_and_process": collected,
    "typewriter": "Assistant: {0}\n",
    "error_handling": "{0}\n",
    "benchmark": measured,
    "check_for_errors": "",
    "flush": "A piece of text. A piece of text. ",
    "check_done": "{0}\n",
    "context_manager": "",
    "keyboard_interrupt": "{0}",
    "old_and_new_code": "{0}\n{1}",
    "custom_handler": "{0}\n\nTotal characters: {n}\n",
    "token_counting": counted,
    "longer_timeout": "",
    "throttling": "{0}",
    "final_newline": "{0}\n",
    "llm_stream": "{0}",
    "portal_backend": events,
    "seeking": wound,
    "many_at_once": all_answered,
    "what_is_left": what_was_left,
}
"""What each program prints; `{0}` is the first answer that the server has on record."""


def code(text: str) -> list[str]:
    """The lines that are neither blank, nor an import, nor the line that names the origin."""
    return [
        line
        for line in text.splitlines()
        if line.strip()
        and not re.match(r"import |from \S+ import ", line)
        and not line.endswith("only imports are changed.")
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    # With a key, so that nobody else's tests are answered, and counted, by this server.
    config = f'[security]\nallowed_api_keys = ["{KEY}"]\n'
    with serve(tmp_path_factory.mktemp("server"), config) as serving:
        yield serving


def run(path: Path, url: str, model: str = "penstock-demo", asked: str = "") -> str:
    """What a program prints. Any warning, a forgotten connection too, is an error in it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONIOENCODING": "utf-8",
            "PENSTOCK_URL": url,
            "PENSTOCK_MODEL": model,
            "PENSTOCK_KEY": KEY,
        },
        input=asked,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_each_block_of_the_guide_is_there_with_its_imports_changed_only():
    assert len(BLOCKS) == 22
    scripts = [code(path.read_text()) for path in COPIED]
    for block in BLOCKS:
        assert scripts.count(code(block)) == 1, block
    assert len(scripts) == len(BLOCKS)


def test_the_page_names_them_all():
    page = (ROOT / "docs/clients/ollama_client.md").read_text().partition("\n## Examples\n")[2]
    assert set(re.findall(r"`(\w+)`", page)) >= {path.stem for path in SCRIPTS}


def got(server: Serving, what: str) -> bytes:
    headers = {"Authorization": f"Bearer {KEY}"}
    asked = urllib.request.Request(f"{server.url}/v1/streams{what}", headers=headers)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        found: bytes = answer.read()
    return found


def streams(server: Serving) -> list[str]:
    """The names of what has run there, the oldest first."""
    return [one["stream"] for one in reversed(json.loads(got(server, "?limit=100"))["data"])]


def text_of(server: Serving, stream: str) -> str:
    """What the server's log says that the answer was."""
    lines = got(server, f"/{stream}").splitlines()
    entries = [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
    return "".join(entry["event"].get("text", "") for entry in entries)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_it_runs(path: Path, server: Serving):
    """Each says what it promises to; an answer that it prints is the one in the server's log."""
    before = streams(server)
    said = run(path, server.url, asked="Hello\nWhat is streaming?\nquit\n")
    texts = [text_of(server, stream) for stream in streams(server) if stream not in before]
    assert len(texts) == RUNS.get(path.stem, 1)
    assert all(texts)
    check = SAYS[path.stem]
    if isinstance(check, str):
        assert said == check.format(*texts, n=sum(map(len, texts)))
    else:
        assert check(said, texts), said


@pytest.mark.parametrize("path", LOOKING, ids=lambda path: path.stem)
def test_a_model_that_is_not_there_is_told_where_the_program_looks(path: Path, server: Serving):
    said = run(path, server.url, "nobody", "Hello\nquit\n")
    assert "Model 'nobody' not found." in said
    if path.stem == "error_handling":
        assert "Model not available. Please install it first." in said


def test_the_guides_branch_for_timeouts_is_taken(tmp_path: Path):
    """A silent server is asked once, and its silence is called what the guide expects."""
    text = (FOLDER / "error_handling.py").read_text()
    path = tmp_path / "error_handling.py"
    path.write_text(
        text.replace("client = ", "config.ollama.timeout_first_request = 0.3\nclient = ")
    )
    with closing(Upstream([["stall"]])) as silent:
        said = run(path, silent.url)
        assert len(silent.requests) == 1
    assert said.startswith("Stream error: Request timed out after 0.3 seconds (timeout of ")
    assert said.endswith("\nRequest took too long. Try a simpler query.\n")


def test_the_guides_branch_for_all_else_is_taken():
    said = run(FOLDER / "error_handling.py", f"http://127.0.0.1:{free_port()}")
    assert said.startswith("Stream error: Cannot connect to Ollama. Is it running?")
    assert said.endswith("\nAn unexpected error occurred.\n")


def test_two_turns_are_answered_in_the_interactive_chat(server: Serving):
    said = run(FOLDER / "interactive_chat.py", server.url, asked="Hello\nTell me more\nEXIT\n")
    assert said.count("You: ") == 3
    assert all(len(turn) > 3 for turn in re.findall(r"Assistant: (.*)\n", said))
    assert said.count("Assistant: ") == 2


@pytest.mark.parametrize(
    ("script", "name"), [("stream_chunk", "StreamChunk"), ("model_response", "ModelResponse")]
)
def test_the_shapes_are_the_guides(script: str, name: str):
    guides = runpy.run_path(str(FOLDER / f"{script}.py"))[name]
    ours = getattr(ollama_client, name)
    assert [(field.name, field.default) for field in dataclasses.fields(ours)] == [
        (field.name, field.default) for field in dataclasses.fields(guides)
    ]


def test_the_benchmark_measures(server: Serving):
    began = time.monotonic()
    said = run(FOLDER / "benchmark.py", server.url)
    whole, first, streamed = (float(found) for found in re.findall(r"(\d+\.\d\d)s", said))
    assert max(whole, first, streamed) < time.monotonic() - began
    assert first <= streamed
