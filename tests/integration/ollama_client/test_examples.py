"""Every program of the streaming guide, and ours beside them, against a live gateway."""

import dataclasses
import os
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.serving import ROOT, Serving, serve

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
SHAPES = ("stream_chunk", "model_response")  # definitions: they say nothing


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
    with serve(tmp_path_factory.mktemp("server"), "") as serving:
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


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_it_runs(path: Path, server: Serving):
    said = run(path, server.url, asked="Hello\nWhat is streaming?\nquit\n")
    assert "Error:" not in said
    if path.stem in (*SHAPES, "check_for_errors", "context_manager", "longer_timeout"):
        assert said == ""
    else:
        assert len(said.strip()) > 10


@pytest.mark.parametrize("path", LOOKING, ids=lambda path: path.stem)
def test_a_model_that_is_not_there_is_told_where_the_program_looks(path: Path, server: Serving):
    said = run(path, server.url, "nobody", "Hello\nquit\n")
    assert "Model 'nobody' not found." in said
    if path.stem == "error_handling":
        assert "Model not available. Please install it first." in said


def test_the_guides_branch_for_timeouts_is_taken(server: Serving, tmp_path: Path):
    text = (FOLDER / "error_handling.py").read_text()
    path = tmp_path / "error_handling.py"
    path.write_text(
        text.replace("client = ", "config.ollama.timeout_first_request = 1e-6\nclient = ")
    )
    assert "Request took too long. Try a simpler query." in run(path, server.url)


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


def test_the_record_is_what_was_said(server: Serving):
    said = run(FOLDER / "seeking.py", server.url).splitlines()
    whole, later, again = (line.split(": ", 1)[1] for line in "\n".join(said).split("\n")[:3])
    assert (later, again) == (whole[8:], whole[8:])


def test_a_page_of_events(server: Serving):
    said = run(FOLDER / "portal_backend.py", server.url)
    blocks = said.split("\n\n")
    assert blocks.pop() == ""
    assert all(re.fullmatch(r'data: \{"content": ".*"\}', block) for block in blocks)
    assert len(blocks) > 2


def test_the_benchmark_measures(server: Serving):
    began = time.monotonic()
    said = run(FOLDER / "benchmark.py", server.url)
    whole, first, streamed = (float(found) for found in re.findall(r"(\d+\.\d\d)s", said))
    assert max(whole, first, streamed) < time.monotonic() - began
    assert first <= streamed
