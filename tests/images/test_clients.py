"""The clients' own ways to ask the demo image model, on `penstock serve`."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import requests
from tests.images.painting import ROOT, gradient, opened, png
from tests.integration.serving import Serving, serve
from tests.integration.test_lollms_clients import ConsoleChat, WebPage

pytestmark = pytest.mark.images

CONFIG = """
[bindings.embedded]
engine = "llamacpp"
[bindings.my_dalle_binding]
engine = "diffusers"
steps = 4
[defaults]
ttt_binding = "embedded"
tti_binding = "my_dalle_binding"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("server")
    with serve(folder, CONFIG) as serving:
        for _ in range(600):
            listed = requests.get(f"{serving.url}/v1/models", timeout=10).text
            if "penstock-demo-image" in listed:
                break
            time.sleep(0.1)
        yield serving


@pytest.fixture
def client(server: Serving) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def decoded(text: str | None) -> bytes:
    assert text is not None
    return base64.b64decode(text, validate=True)


def test_openai_generates(client: openai.OpenAI):
    made = client.images.generate(
        model="penstock-demo-image", prompt="a red circle", n=2, size="64x64"
    )
    assert made.data is not None
    pictures = [opened(decoded(one.b64_json)) for one in made.data]
    assert [picture.size for picture in pictures] == [(64, 64)] * 2
    assert pictures[0].tobytes() != pictures[1].tobytes()
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(model="penstock-demo-image", prompt="a red circle", size="1024x1024")
    assert caught.value.param == "size"
    assert "multiples of 8" in str(caught.value)


def test_openai_streams_partial_pictures(client: openai.OpenAI):
    events = list(
        client.images.generate(
            model="penstock-demo-image", prompt="a red circle", stream=True, partial_images=2
        )
    )
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert opened(decoded(events[-1].b64_json)).size == (64, 64)


def test_openai_edits_inside_a_mask(client: openai.OpenAI):
    before = gradient()
    mask = before.copy()
    hole = before.convert("L").point(lambda _: 255)
    hole.paste(0, (16, 16, 48, 48))
    mask.putalpha(hole)
    made = client.images.edit(
        model="penstock-demo-image",
        image=("before.png", png(before), "image/png"),
        mask=("mask.png", png(mask), "image/png"),
        prompt="a red circle",
    )
    assert made.data is not None
    after = opened(decoded(made.data[0].b64_json))
    assert after.crop((0, 0, 64, 16)).tobytes() == before.crop((0, 0, 64, 16)).tobytes()
    assert after.crop((16, 16, 48, 48)).tobytes() != before.crop((16, 16, 48, 48)).tobytes()


def test_lollms_legacy_gets_the_nearest_size_and_what_was_ignored(server: Serving):
    answer = requests.post(
        f"{server.url}/api/v1/generate",
        json={
            "prompt": "a red circle",
            "binding_name": "my_dalle_binding",
            "generation_type": "tti",
            "stream": False,
            "parameters": {
                "size": "1024x1024",
                "quality": "standard",
                "style": "vivid",
                "negative_prompt": "blur",
                "steps": 3,
            },
        },
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    picture = opened(decoded(told["image_base64"]))
    assert picture.size == (64, 64)
    assert picture.info["negative_prompt"] == "blur"
    assert picture.info["steps"] == "3"
    assert told["output"][0]["metadata"]["size"] == "64x64"
    assert {"parameters.quality", "parameters.style"} <= set(
        answer.headers["Penstock-Ignored"].replace(" ", "").split(",")
    )


MODERN = {
    "input_data": [{"type": "text", "role": "user_prompt", "data": "three green triangles"}],
    "generation_type": "tti",
    "binding_name": "my_dalle_binding",
    "model_name": "penstock-demo-image",
    "parameters": {"seed": 4, "steps": 6},
}


def test_lollms_modern_gets_an_output_per_picture(server: Serving):
    asked = {**MODERN, "parameters": {"seed": 4, "steps": 3, "n": 2}}
    answer = requests.post(f"{server.url}/api/v1/generate", json=asked, timeout=60)
    assert answer.status_code == 200, answer.text
    outputs = answer.json()["output"]
    assert [(one["type"], one["mime_type"]) for one in outputs] == [("image", "image/png")] * 2
    assert [opened(decoded(one["data"])).size for one in outputs] == [(64, 64)] * 2
    assert outputs[0]["metadata"]["model"] == "penstock-demo-image"
    assert outputs[0]["metadata"]["prompt_used"] == "three green triangles"


def test_lollms_streams_previews_and_the_picture(server: Serving):
    asked = {**MODERN, "stream": True}
    with requests.post(f"{server.url}/api/v1/generate", json=asked, stream=True, timeout=60) as got:
        lines = [line[6:] for line in got.iter_lines() if line.startswith(b"data: ")]
    frames = [json.loads(line) for line in lines]
    told = [frame["metadata"] for frame in frames if frame["type"] == "info"]
    assert [(one["at"], one["of"]) for one in told if "at" in one] == [(n, 6) for n in range(1, 7)]
    shown = [decoded(one["preview"]) for one in told if one.get("preview")]
    assert shown
    assert {opened(preview).format for preview in shown} == {"JPEG"}
    assert frames[-1]["type"] == "final"
    (output,) = frames[-1]["content"]
    assert opened(decoded(output["data"])).info["seed"] == "4"


def test_the_image_client_of_lollms(server: Serving, tmp_path: Path):
    """`examples/lollms/image_client.py`, with the names and sizes that the original asks for."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples/lollms/image_client.py")],
        env={
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            "BASE_URL": f"{server.url}/api/v1",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (saved,) = (tmp_path / "generated_images").glob("generated_image_*.png")
    assert opened(saved.read_bytes()).size == (64, 64)
    assert "Image saved successfully" in done.stdout


def test_the_console_clients_of_lollms_imagine(server: Serving):
    """`/imagine` of `simple_client.py` and `chat_app.py`: no binding and no model is named."""
    client = ConsoleChat(f"{server.url}/api/v1")
    client.connect()
    assert client.key is None  # none is needed here
    answer = client.imagine("a red circle")
    assert answer.headers["content-type"] == "application/json"
    first = answer.json()["output"][0]  # an error that came first would end their search
    assert first["type"] == "image"
    assert opened(decoded(first["data"])).format == "PNG"
    assert first["metadata"]["prompt_used"] == "a red circle"


def test_the_web_page_of_lollms_shows_a_picture(server: Serving):
    page = WebPage(server.url, "http://localhost:8080")
    told = page.generate("a red circle", stream=False, kind="tti")
    assert isinstance(told, dict)
    assert opened(decoded(told["image_base64"])).format == "PNG"


def test_the_command_line_saves_a_picture_that_says_what_drew_it(server: Serving, tmp_path: Path):
    environment = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "PENSTOCK_SERVER__PORT": str(server.port),
    }
    command = [sys.executable, "-m", "penstock.cli", "image", "a yellow sun over a green hill"]
    done = subprocess.run(
        [*command, "--seed", "5", "-o", str(tmp_path / "sun.png")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    picture = opened((tmp_path / "sun.png").read_bytes())
    assert picture.info["prompt"] == "a yellow sun over a green hill"
    assert picture.info["seed"] == "5"
