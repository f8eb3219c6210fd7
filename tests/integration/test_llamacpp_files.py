"""The embedded engine: one model, several, and files that are none."""

import asyncio
import shutil
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
from tests.integration.embedded import (
    DEMO,
    LONG,
    SHORT,
    answer,
    first_delta,
    model,
    opened,
    running,
)

from penstock.core import events as ev
from penstock.core.errors import (
    ConfigError,
)
from penstock.core.ports import Timeouts
from penstock.engines.llamacpp import Config, Engine


@pytest.mark.parametrize("kind", ["missing", "empty", "junk", "header", "tensors", "folder"])
async def test_bad_files_are_told_apart(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.gguf"
    whole = DEMO.read_bytes()
    content = {"empty": b"", "junk": b"junk" * 100, "header": whole[:300], "tensors": whole[:-9]}
    words = {
        "missing": "no file",
        "empty": "empty",
        "junk": "no GGUF",
        "header": "within its header",
        "tensors": "its tensors need",
        "folder": "no GGUF file in the folder",
    }
    if kind == "folder":
        path = tmp_path
    elif kind != "missing":
        path.write_bytes(content[kind])
    engine = Engine(Config(path=str(path)), Timeouts())
    with pytest.raises(ConfigError, match=words[kind]) as caught:
        await engine.start()
    assert caught.value.param == "path"
    await engine.aclose()


async def test_a_whole_file_that_llama_cpp_does_not_take(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(DEMO.read_bytes().replace(b"llama", b"lLaMa"))
    engine = Engine(Config(path=str(path)), Timeouts())
    with pytest.raises(ConfigError, match=r"can't load m\.gguf") as caught:
        await engine.start()
    assert caught.value.param == "path"
    await engine.aclose()


async def test_a_folder_of_models(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        shutil.copy(DEMO, tmp_path / f"{name}.gguf")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    config = Config(path=str(tmp_path), model="b", max_loaded=2, load="first_use")
    async with running(config) as engine:
        cards = await engine.models()
        assert [card.name for card in cards] == ["a", "b", "c"]

        def loaded() -> set[str]:
            return {card.name for card in cards if model(engine, card.name).server is not None}

        assert loaded() == set()
        await answer(engine, SHORT)
        assert loaded() == {"b"}
        await answer(engine, msgspec.structs.replace(SHORT, model="a"))
        await answer(engine, SHORT)
        await idle_all(engine, "abc")
        await answer(engine, msgspec.structs.replace(SHORT, model="c"))
        assert loaded() == {"b", "c"}  # `a` was unused for longest


async def idle_all(engine: Engine, names: str) -> None:
    while not all(model(engine, name).slots.idle for name in names):
        await asyncio.sleep(0.001)


async def test_a_busy_model_is_never_unloaded(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copy(DEMO, tmp_path / f"{name}.gguf")
    async with (
        running(Config(path=str(tmp_path))) as engine,
        aclosing(opened(engine, LONG)) as busy,
        aclosing(opened(engine, msgspec.structs.replace(SHORT, model="b"))) as other,
    ):
        await first_delta(busy)
        assert await anext(other) == [ev.Progress(what="queued", text="b")]
        assert model(engine, "a").server is not None
        await busy.aclose()
        assert [event async for batch in other for event in batch][-1] == ev.Done(reason="length")
        assert model(engine, "a").server is None


async def test_an_unknown_default(tmp_path: Path) -> None:
    engine = Engine(Config(model="gpt-9"), Timeouts())
    with pytest.raises(ConfigError, match="there are: penstock-demo") as caught:
        await engine.start()
    assert caught.value.param == "model"
    await engine.aclose()
