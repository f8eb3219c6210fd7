"""The contract of engines, over those that need no program beside them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.comfy import Comfy

from penstock.core.messages import say
from penstock.core.ports import Timeouts
from penstock.core.request import ImageAsk, Request, Sampling
from penstock.engines import comfyui, llamacpp, ollama, openai, replay
from penstock.testing.engines import EngineContract, Subject
from penstock.testing.upstreams import Connection, Script, scripted
from penstock.testing.vectors import REQUEST

VECTORS = Path(__file__).parent.parent / "vectors" / "engines"
NOWHERE = "http://127.0.0.1:9"
QUICK = Timeouts(connect=2, first_token=5, between_tokens=5)


def paced(body: bytes, separator: bytes, content_type: str, models: bytes) -> Script:
    async def script(connection: Connection) -> None:
        if connection.head.startswith(b"GET"):
            await connection.answer(headers=["Content-Type: application/json"], body=models)
            return
        await connection.answer(headers=[f"Content-Type: {content_type}"])
        for piece in body.split(separator):
            await connection.send(piece + separator)
            await asyncio.sleep(0.005)

    return script


class TestOpenai(EngineContract):
    @pytest.fixture
    async def subject(self) -> AsyncIterator[Subject]:
        body = (VECTORS / "openai" / "llamacpp_json_schema" / "upstream.body").read_bytes()
        script = paced(body, b"\n\n", "text/event-stream", b'{"data":[{"id":"m"}]}')
        async with scripted(script) as upstream:
            yield Subject(
                make=lambda: openai.Engine(openai.Config(url=upstream.url), QUICK),
                broken=lambda: openai.Engine(openai.Config(url=NOWHERE), QUICK),
                request=REQUEST,
            )


class TestComfyui(EngineContract):
    @pytest.fixture
    async def subject(self) -> AsyncIterator[Subject]:
        async def paced_steps(_step: int) -> None:
            await asyncio.sleep(0.005)

        async with Comfy(gate=paced_steps) as upstream:
            yield Subject(
                make=lambda: comfyui.Engine(comfyui.Config(url=upstream.url), QUICK),
                broken=lambda: comfyui.Engine(comfyui.Config(url=NOWHERE), QUICK),
                request=Request(
                    model="sdxl.safetensors",
                    messages=(say("user", "a hill"),),
                    modality="image",
                    image=ImageAsk(steps=20),
                ),
            )


class TestOllama(EngineContract):
    @pytest.fixture
    async def subject(self) -> AsyncIterator[Subject]:
        first, last = (VECTORS / "ollama" / "text" / "upstream.body").read_bytes().splitlines()
        body = b"\n".join([first] * 20 + [last])
        script = paced(body, b"\n", "application/x-ndjson", b'{"models":[{"name":"m"}]}')
        async with scripted(script) as upstream:
            yield Subject(
                make=lambda: ollama.Engine(ollama.Config(url=upstream.url), QUICK),
                broken=lambda: ollama.Engine(ollama.Config(url=NOWHERE), QUICK),
                request=REQUEST,
            )


class TestReplay(EngineContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        source = VECTORS / "openai" / "llamacpp_json_schema" / "events.jsonl"
        (tmp_path / "m.jsonl").write_bytes(source.read_bytes())
        return Subject(
            make=lambda: replay.Engine(
                replay.Config(path=str(tmp_path), interval_ms=5), Timeouts()
            ),
            broken=lambda: replay.Engine(
                replay.Config(path=str(tmp_path / "none.jsonl")), Timeouts()
            ),
            request=REQUEST,
        )


class TestLlamacpp(EngineContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        nothing = llamacpp.Config(path=str(tmp_path / "none.gguf"))
        return Subject(
            make=lambda: llamacpp.Engine(llamacpp.Config(), QUICK),
            broken=lambda: llamacpp.Engine(nothing, QUICK),
            request=Request(
                messages=(say("user", "What is the GIL?"),), sampling=Sampling(temperature=0)
            ),
        )
