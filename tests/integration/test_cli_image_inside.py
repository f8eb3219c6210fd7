"""`penstock image` with no server running: an image binding of the configuration draws here."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image
from tests.integration.comfy import Comfy
from tests.integration.serving import ROOT, free_port

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def comfy() -> AsyncIterator[Comfy]:
    async with Comfy() as server:
        yield server


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path


def configure(folder: Path, comfy: Comfy) -> None:
    (folder / "config.toml").write_text(
        f'[bindings.comfy]\nengine = "comfyui"\nurl = "{comfy.url}"\n'
    )


async def start(folder: Path, *words: str) -> asyncio.subprocess.Process:
    environment = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "PENSTOCK_SERVER__PORT": str(free_port()),
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "penstock.cli",
        "image",
        *words,
        env=environment,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(folder: Path, *words: str) -> tuple[int | None, str, str]:
    process = await start(folder, *words)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_binding_of_the_configuration_draws(comfy: Comfy, here: Path):
    configure(here, comfy)
    words = ("a hill", "--seed", "5", "--steps", "2", "--size", "40x24", "--json")
    status, out, err = await run(here, *words)
    assert status == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    (file,) = lines[-1]["files"]
    with Image.open(here / file) as opened:
        opened.load()
        assert opened.size == (40, 24)
        assert opened.info["seed"] == "5"
        assert opened.info["prompt"] == "a hill"
        assert opened.info["sampler"] == "euler"
        assert opened.info["model"] == "v1-5-pruned-emaonly.ckpt"
    # The log keeps it: the stream can be saved again when the process is long gone.
    again, out, err = await run(here, "--stream", lines[-1]["stream"], "-o", "again.png")
    assert again == 0, err
    with Image.open(here / "again.png") as opened:
        assert opened.size == (40, 24)


async def test_what_the_engine_refuses_is_said(comfy: Comfy, here: Path):
    configure(here, comfy)
    status, _, err = await run(here, "a hill", "-o", "hill.webp")
    assert status == 1
    assert "does not support output_format" in err
    assert comfy.asked == []


async def test_ctrl_c_interrupts_at_the_engine(comfy: Comfy, here: Path):
    async def hold(_step: int) -> None:
        await asyncio.Event().wait()

    comfy.gate = hold
    configure(here, comfy)
    process = await start(here, "a hill")
    async with asyncio.timeout(60):
        while not comfy.running:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130
    assert b"the run was cancelled at the engine" in err
    assert comfy.interrupts == 1


@pytest.mark.skipif(find_spec("torch") is not None, reason="what it needs is installed")
async def test_without_anything_that_draws_it_says_what_to_install(here: Path):
    status, _, err = await run(here, "a hill")
    assert status == 1
    assert "make setup-images" in err
    assert "penstock[diffusers]" in err
