"""Every script of `examples/python` runs against a live gateway, and says what it promises."""

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.images_server import KEY, images_server
from tests.integration.printed import collects, prints
from tests.integration.serving import ROOT, Serving, serve, start

SCRIPTS = ROOT / "examples" / "python"


SAYS: dict[str, Callable[[str], bool]] = {
    "streaming_client": prints(r"\w.*\n\n\d+ tokens, the first after \d+\.\d+ s\n"),
    "simple_client": prints(r"\w.*\n\d+ tokens in, \d+ out"),
    "interactive_chat": prints(r"You: .*\w.*5 messages so far"),
    "progress_indicator": prints(r"\d+ tokens\n\w"),
    "collect_and_process": collects,
    "typewriter": prints(r"\w+"),
    "error_handling": prints(r"answered: \w.*no such model: .*not there: .* again\? True"),
    "benchmark": prints(r"whole: +\d+\.\d+ s .*streamed: +\d+\.\d+ s .* \d+\.\d+ s to the last"),
    "custom_handler": prints(r"\d+ tokens\ndone: (stop|length)\n\w"),
    "token_counting": prints(r"'Hello!': \d+ tokens, first after .*\d+ tokens in all"),
    "resume": prints(r"died \(-6\) after event 5\n.*\nwhole answer: [1-9]\d* characters"),
    "two_watchers": prints(r"\w.*\nall the same: True"),
    "replay": prints(r"^(.*\w.*)\n\[at speed 1: \d.*\]\n\1\n\[at speed 2: \d"),
    "tools_while_streaming": prints(r"^get_weather .*\}\s*\n\w"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serve(tmp_path_factory.mktemp("server"), "") as serving:
        yield serving


@pytest.fixture(scope="module")
def taciturn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Every answer ends before its first word."""
    folder = tmp_path_factory.mktemp("taciturn")
    (folder / "nothing.jsonl").write_text('{"type":"done","reason":"stop"}\n')
    binding = f'[bindings.n]\nengine = "replay"\npath = "{folder}/nothing.jsonl"\n'
    with serve(folder, binding) as serving:
        yield serving


def run(name: str, url: str, folder: Path, *more: str, said: str = "Hello!\nAnd then?\n\n") -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPTS / f"{name}.py"), *more],
        env={
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "src"),
            "PENSTOCK_URL": url,
            "TYPE_SECONDS": "0",
        },
        cwd=folder,
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_no_script_is_left_out():
    names = {path.stem for path in SCRIPTS.glob("*.py")}
    assert names == {*SAYS, "image_client"}
    page = (ROOT / "docs/clients/python.md").read_text().partition("\n## Examples\n")[2]
    assert set(re.findall(r"`(\w+)`", page)) == names


@pytest.mark.parametrize("name", sorted(SAYS))
def test_script(name: str, server: Serving, tmp_path: Path):
    out = run(name, server.url, tmp_path)
    assert SAYS[name](out), out


@pytest.mark.parametrize("name", sorted(SAYS))
def test_a_script_bears_an_answer_without_a_word(name: str, taciturn: Serving, tmp_path: Path):
    run(name, taciturn.url, tmp_path)


@pytest.mark.parametrize("said", ["", "\n"])
def test_a_chat_in_which_nothing_is_said_ends_well(said: str, server: Serving, tmp_path: Path):
    out = run("interactive_chat", server.url, tmp_path, "silence", said=said)
    assert "nothing was said" in out


def test_what_is_resumed_is_the_rest(server: Serving, tmp_path: Path):
    """Nothing is lost and nothing comes twice: held against the server's log."""
    out = run("resume", server.url, tmp_path)
    rest, _, length = out.partition("after event 5\n")[2].rpartition("\nwhole answer: ")
    with urllib.request.urlopen(f"{server.url}/v1/streams?limit=1", timeout=10) as listed:
        stream = json.load(listed)["data"][0]["stream"]
    with urllib.request.urlopen(f"{server.url}/v1/streams/{stream}", timeout=30) as followed:
        log = [json.loads(line[6:]) for line in followed if line.startswith(b"data: ")]
    texts = [(entry["seq"], entry["event"].get("text", "")) for entry in log]
    assert rest == "".join(text for seq, text in texts if seq > 5)
    assert length == f"{sum(len(text) for _, text in texts)} characters\n"


async def test_the_image_client(tmp_path: Path):
    async with images_server() as painter:
        binding = f'[bindings.p]\nengine = "openai_images"\nurl = "{painter.url}"\nkey = "{KEY}"\n'
        server = await asyncio.to_thread(start, tmp_path / "server", binding)
        try:
            out = await asyncio.to_thread(run, "image_client", server.url, tmp_path)
        finally:
            await asyncio.to_thread(server.stop)
    assert "saved picture-1.png" in out
    assert (tmp_path / "picture-1.png").read_bytes().startswith(b"\x89PNG")
