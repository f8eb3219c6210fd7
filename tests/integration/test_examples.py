"""Every example in README and docs runs: Python, configuration, curl and the command line.

Those of docs/pictures.md draw: tests/images/test_pictures_page.py; those of docs/mqtt.md need a
broker: tests/integration/mqtt/test_mqtt_page.py.
"""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.integration.embedded import DEMO
from tests.integration.hub import Hub
from tests.integration.serving import ROOT, Serving, serve

from penstock import registry
from penstock.config import loading
from penstock.core.messages import say
from penstock.core.ports import Timeouts
from penstock.core.request import Request

PAGES = [
    ROOT / "README.md",
    *sorted({*(ROOT / "docs").rglob("*.md")} - {ROOT / "docs/pictures.md", ROOT / "docs/mqtt.md"}),
]
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> Sequence[object]:
    """Every fenced block of a language, with where it stands."""
    found = []
    for page in PAGES:
        for match in FENCE.finditer(page.read_text()):
            indent, name, text = match.groups()
            if name == language:
                line = page.read_text().count("\n", 0, match.start()) + 1
                text = re.sub(f"^{indent}", "", text, flags=re.MULTILINE)
                where = f"{page.relative_to(ROOT)}:{line}"
                found.append(pytest.param(text, id=where))
    assert found
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serve(tmp_path_factory.mktemp("server"), "") as serving:
        yield serving


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    found = Hub({"demo-Q8_0.gguf": DEMO.read_bytes()})
    try:
        yield found
    finally:
        found.close()


def run(command: list[str] | str, serving: Serving, **more: str) -> str:
    """A command as a reader would give it; what it printed."""
    environment = {
        "HOME": str(serving.folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "PENSTOCK_SERVER__PORT": str(serving.port),
        **more,
    }
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        env=environment,
        cwd=serving.folder,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stream_of(serving: Serving) -> str:
    """A stream that has ended."""
    said = run(["penstock", "stream", "--json", "Hello!"], serving)
    assert said
    import_of_newest = run(f"curl -s {serving.url}/v1/streams", serving)
    found = re.search(r'"stream":"([0-9a-f]{32})"', import_of_newest)
    assert found
    return found[1]


@pytest.mark.parametrize("text", blocks("python"))
def test_python(text: str, server: Serving, tmp_path: Path):
    path = tmp_path / "example.py"
    path.write_text(text.replace("http://127.0.0.1:9601", server.url))
    if "class Engine" in text:
        pytest.skip("run as an engine, below")
    if text.startswith("async def "):
        pytest.skip("run inside a server, in test_lollms_own_code")
    stream_of(server)
    assert run([sys.executable, str(path)], server).strip()


async def test_the_whole_engine_of_the_recipe(tmp_path: Path):
    page = (ROOT / "docs/extending/engine.md").read_text()
    (text,) = [found[3] for found in FENCE.finditer(page) if found[2] == "python"]
    path = tmp_path / "penstock_parrot.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("penstock_parrot", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    engine = module.Engine(module.Config(), Timeouts())
    await engine.start()
    batches = [batch async for batch in engine.stream(Request(messages=(say("user", "abc"),)))]
    assert "".join(event.text for batch in batches[1:-1] for event in batch) == "cba"
    assert [card.name for card in await engine.models()] == ["backwards"]
    await engine.aclose()


@pytest.mark.parametrize("text", blocks("toml"))
def test_configuration(text: str, tmp_path: Path):
    if "entry-points" in text:
        assert "penstock.engines" in text
        return
    path = tmp_path / "config.toml"
    path.write_text(text)
    environment = dict.fromkeys(re.findall(r'env = "(\w+)"', text), "secret")
    config = loading.load(path, environment, {})
    for name, table in config.bindings.items():
        module = registry.load("engines", loading.engine_of(name, table))
        loading.convert_binding(name, table, module.Config, environment)


def commands(language: str) -> Sequence[object]:
    """Every line of a shell example, without its comment."""
    found = []
    for block in blocks(language):
        text, where = block.values[0], block.id  # type: ignore[attr-defined]
        text = text.replace("\\\n", " ")
        lines = text.splitlines()
        if language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        for n, line in enumerate(lines):
            words = shlex.split(line, comments=True)
            if words and words[0] not in {"make", "#"}:
                found.append(pytest.param(line, id=f"{where}+{n}"))
    return found


@pytest.mark.parametrize("line", [*commands("sh"), *commands("console")])
def test_shell(line: str, server: Serving, hub: Hub, tmp_path: Path):
    line = line.split(" #")[0].replace(".venv/bin/penstock", "penstock").strip()
    stream = stream_of(server)
    line = re.sub(r"\b(STREAM_ID|STREAM|6f1c…|7821f5f1560253795bb3bd6e35bf4b78)", stream, line)
    line = line.replace("http://127.0.0.1:9601", server.url)
    words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
    if "serve" in words or "--config" in words:
        # It would take the port; that it starts is what every other test here rests on.
        assert run(["penstock", words[1], "--help"], server)
        settings = dict(word.split("=", 1) for word in shlex.split(line) if word not in words)
        if settings:
            run(["penstock", "doctor"], server, **{**settings, "PENSTOCK_SERVER__PORT": "0"})
        return
    if words[0] == "curl":
        words.insert(1, "--fail")
    if "hf.co/acme/demo:Q8_0" in words:
        run(["penstock", "pull", "hf.co/acme/demo:Q8_0"], server, HF_ENDPOINT=hub.url)
    data = {"XDG_DATA_HOME": str(tmp_path)}
    if words[:3] == ["penstock", "keys", "revoke"]:
        run(["penstock", "keys", "create", words[3]], server, **data)
    # A key of the server's own would shut its other readers out.
    run(words, server, HF_ENDPOINT=hub.url, **(data if words[1] == "keys" else {}))


def test_what_make_says_is_what_make_does():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    named = {line.split()[0] for line in said.stdout.splitlines() if line.strip()}
    assert {"run", "test", "check", "setup", "bench", "docs"} <= named
    for page in PAGES:
        for target in re.findall(r"`make ([a-z-]+)`", page.read_text()):
            assert target in named, (page, target)
