"""Digests of model files: real files, read on a real thread."""

import asyncio
import hashlib
import os
import shutil
from pathlib import Path

import pytest
from tests.integration.embedded import DEMO, running
from tests.integration.splitting import split

from penstock.engines import _llama_files, llamacpp
from penstock.engines._gguf import ModelFile
from penstock.engines._llama_digests import Digests
from penstock.engines.llamacpp import Config


async def known(digests: Digests, file: ModelFile) -> str:
    """Looks until it is known; the first look waits only a moment."""
    while (found := digests.known(file)) is None:
        await digests.look([file])
        await asyncio.sleep(0.01)
    return found


async def test_a_file_is_known_by_its_content_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    shutil.copy(DEMO, path)
    digests = Digests()
    before = _llama_files.whole(path)
    assert await known(digests, before) == hashlib.sha256(DEMO.read_bytes()).hexdigest()
    with path.open("ab") as file:
        file.write(b"more")
    after = _llama_files.whole(path)
    assert digests.known(after) is None
    assert await known(digests, after) == hashlib.sha256(path.read_bytes()).hexdigest()
    await digests.aclose()


async def test_a_large_file_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    shutil.copy(DEMO, path)
    os.truncate(path, 64 * 1024**3)  # a hole: no machine reads it in a moment
    digests = Digests()
    file = _llama_files.whole(path)
    await digests.look([file])
    assert digests.known(file) is None
    await digests.look([file])
    await digests.aclose()
    assert digests.known(file) is None


async def test_a_file_of_the_store_is_named_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / f"{'ab' * 32}.gguf"
    shutil.copy(DEMO, path)
    digests = Digests()
    assert digests.known(_llama_files.whole(path)) == "ab" * 32


async def test_a_file_that_has_gone_has_none(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    shutil.copy(DEMO, path)
    file = _llama_files.whole(path)
    path.unlink()
    digests = Digests()
    await digests.look([file])
    await digests.aclose()
    assert digests.known(file) is None


async def test_a_listing_reads_a_large_file_only_once_it_was_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llamacpp, "UNASKED_BYTES", DEMO.stat().st_size)
    small, large = tmp_path / "a.gguf", tmp_path / "b.gguf"
    shutil.copy(DEMO, small)
    shutil.copy(DEMO, large)
    os.truncate(large, DEMO.stat().st_size + 1)
    sha256 = hashlib.sha256(DEMO.read_bytes()).hexdigest()
    async with running(Config(path=str(tmp_path), load="first_use")) as engine:
        while (cards := {card.name: card for card in await engine.models()})["a"].digest is None:
            await asyncio.sleep(0.01)
        assert (cards["a"].digest, cards["b"].digest) == (sha256, None)
        await engine.load("b")
        while not (found := [card.digest for card in await engine.models()])[1]:
            await asyncio.sleep(0.01)
        assert found[0] == sha256 != found[1]
        assert [one.card.digest for one in await engine.loaded()] == [found[1]]


async def test_parts_have_one_digest_between_them(tmp_path: Path) -> None:
    parts = split(DEMO.read_bytes(), 2)
    paths = [tmp_path / f"m-0000{n}-of-00002.gguf" for n in (1, 2)]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    lines = "".join(f"{hashlib.sha256(part).hexdigest()}\n" for part in parts)
    digests = Digests()
    found = await known(digests, _llama_files.whole(paths[0]))
    assert found == hashlib.sha256(lines.encode()).hexdigest()
    await digests.aclose()
