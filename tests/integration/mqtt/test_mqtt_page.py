"""docs/mqtt.md and examples/mqtt: every block and every script runs."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.mqtt.broker import Broker, broker
from tests.integration.mqtt.test_mqtt_bridge import connected
from tests.integration.serving import ROOT, serve

from penstock.config import loading

PAGE = (ROOT / "docs/mqtt.md").read_text()
EXAMPLES = sorted((ROOT / "examples/mqtt").glob("*.py"))
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    found = [text for name, text in _FENCE.findall(PAGE) if name == language]
    assert found
    return found


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """With a server of the page's first configuration."""
    with broker(tmp_path_factory.mktemp("broker")) as found:
        config = blocks("toml")[0].replace("1883", str(found.port))
        binding = '[bindings.local]\nengine = "llamacpp"\n'
        with serve(tmp_path_factory.mktemp("server"), config + binding) as serving:
            connected(serving)
            yield found


def run(command: list[str], folder: Path) -> str:
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT / "src"),
    }
    done = subprocess.run(
        command,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("text", blocks("python"))
def test_python(text: str, mosquitto: Broker, tmp_path: Path) -> None:
    path = tmp_path / "example.py"
    path.write_text(text.replace("1883", str(mosquitto.port)))
    assert run([sys.executable, str(path)], tmp_path).strip()


@pytest.mark.parametrize("line", blocks("sh")[0].splitlines())
def test_shell(line: str, mosquitto: Broker, tmp_path: Path) -> None:
    words = re.findall(r'"[^"]*"|\S+', line)
    command = [word.strip('"') for word in words]
    assert run([*command, "--url", mosquitto.url], tmp_path).strip()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example(path: Path, mosquitto: Broker, tmp_path: Path) -> None:
    command = [sys.executable, str(path), "127.0.0.1", str(mosquitto.port)]
    assert run(command, tmp_path).strip()


@pytest.mark.parametrize("text", blocks("toml"))
def test_configuration(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    environment = dict.fromkeys(re.findall(r'env = "(\w+)"', text), "secret")
    assert loading.load(path, environment, {}).mqtt.url


@pytest.mark.parametrize("text", blocks("json"))
def test_json(text: str) -> None:
    assert json.loads(text)
