"""Pulls as runs: the store behind the face of an engine."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest
from tests.integration.embedded import DEMO
from tests.integration.hub import Hub

from penstock.core import events as ev
from penstock.core.request import Request
from penstock.engines.llamacpp import check_file
from penstock.gateway.fetching import Fetching
from penstock.stores.models import Models

PULL = Request(model="hf.co/acme/demo:Q8_0", task="pull")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    found = Hub({"demo-Q8_0.gguf": DEMO.read_bytes()})
    monkeypatch.setenv("HF_ENDPOINT", found.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    try:
        yield found
    finally:
        found.close()


def streaming(folder: Path, told: list[str]) -> AsyncGenerator[Sequence[ev.Event]]:
    async def fetched() -> None:
        told.append("fetched")

    fetching = Fetching(Models(folder, check=check_file), fetched)
    return cast("AsyncGenerator[Sequence[ev.Event]]", fetching.stream(PULL))


async def test_what_a_pull_does_is_told_when_it_does_it(tmp_path: Path, hub: Hub):
    told: list[str] = []
    async with aclosing(streaming(tmp_path, told)) as batches:
        (first,) = await anext(batches)
        assert isinstance(first, ev.Progress)
        assert first.text == "pulling manifest"
        assert hub.authorized == []  # nobody has been asked yet
        async for batch in batches:
            # Only at the end, and before it is told.
            assert bool(told) == isinstance(batch[-1], ev.Done)


async def test_leaving_a_pull_frees_its_content_at_once(tmp_path: Path, hub: Hub):
    hub.pace = 0.05
    kept = 0
    async with aclosing(streaming(tmp_path, [])) as batches:
        async for batch in batches:
            event = batch[0]
            if isinstance(event, ev.Progress) and 0 < event.at < event.of:
                kept = event.at
                break
    hub.pace = 0.0
    async with aclosing(streaming(tmp_path, [])) as batches:
        said = [event async for batch in batches for event in batch]
    assert isinstance(said[-1], ev.Done)
    after = [one.at for one in said if isinstance(one, ev.Progress) and one.of]
    assert after
    assert min(after) >= kept > 0
