"""The `comfyui` engine against a ComfyUI on loopback: progress, previews, queue, faults."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image as Pillow
from tests.integration.comfy import VECTORS, Comfy, colour

from penstock.core.errors import (
    BindingDownError,
    ConfigError,
    EngineError,
    EngineProtocolError,
    EngineRefusedError,
    GatewayError,
    InvalidRequestError,
    ModalityError,
    UnknownModelError,
    UnsupportedParameterError,
)
from penstock.core.events import Blob, Done, Event, Image, Progress, Usage
from penstock.core.messages import ImagePart, say
from penstock.core.ports import Timeouts
from penstock.core.request import ImageAsk, Request, Sampling
from penstock.core.secrets import Secret
from penstock.engines import _comfy_run, comfyui
from penstock.engines._comfy_workflow import SHIPPED

TIMEOUTS = Timeouts(connect=3.0)


class Book:
    """An album in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def keep(self, data: bytes, media_type: str) -> Blob:
        name = sha256(data).hexdigest()
        self.kept[name] = data
        return Blob(sha256=name, media_type=media_type, size=len(data))

    async def get(self, blob: Blob) -> bytes:
        return self.kept[blob.sha256]


@pytest.fixture
async def comfy() -> AsyncIterator[Comfy]:
    async with Comfy() as server:
        yield server


@pytest.fixture
async def engine(comfy: Comfy) -> AsyncIterator[comfyui.Engine]:
    made = comfyui.Engine(comfyui.Config(url=comfy.url), TIMEOUTS)
    await made.start()
    yield made
    await made.aclose()


def ask(seed: int | None = 7, **image: object) -> Request:
    values = {"size": (32, 24), "steps": 3, **image}
    return Request(
        model="sdxl.safetensors",
        messages=(say("user", "a red disc"),),
        modality="image",
        sampling=Sampling(seed=seed),
        image=msgspec.convert(values, ImageAsk),
    )


async def paint(
    engine: comfyui.Engine,
    request: Request,
    album: Book | None = None,
    heard: list[Event] | None = None,
) -> list[Event]:
    """What comes; it is put into `heard` as it does."""
    heard = [] if heard is None else heard
    async for batch in engine.paint(request, album or Book()):
        heard += batch
    return heard


def steps(events: Sequence[Event]) -> list[tuple[int, int]]:
    """In the order in which they were first told."""
    found = [(e.at, e.of) for e in events if isinstance(e, Progress) and e.what == "step"]
    return list(dict.fromkeys(found))


async def test_a_picture_with_progress_and_previews(comfy: Comfy, engine: comfyui.Engine):
    album = Book()
    request = ask(negative_prompt="squares", guidance_scale=5.5, sampler="dpmpp_2m")
    events = await paint(engine, request, album)
    assert steps(events) == [(1, 3), (2, 3), (3, 3)]
    previews = [e for e in events if isinstance(e, Progress) and e.preview is not None]
    assert [(e.at, e.of) for e in previews] == [(1, 3), (2, 3), (3, 3)]
    assert len([e for e in events if isinstance(e, Progress) and e.what == "step"]) == 3
    assert previews[0].preview is not None
    assert album.kept[previews[0].preview.sha256] == colour((8, 8), 1, "JPEG")
    assert Progress(what="loading", text="CheckpointLoaderSimple") in events
    (image,) = [e for e in events if isinstance(e, Image)]
    with Pillow.open(BytesIO(album.kept[image.blob.sha256])) as opened:
        assert (opened.format, opened.size) == ("PNG", (32, 24))
    assert (image.width, image.height, image.seed) == (32, 24, 7)
    assert image.made_with == {
        "steps": 3,
        "guidance_scale": 5.5,
        "sampler": "dpmpp_2m",
        "negative_prompt": "squares",
        "model": "sdxl.safetensors",
    }
    usage, done = events[-2:]
    assert isinstance(usage, Usage)
    assert usage.images == 1
    assert usage.timings is not None
    assert usage.timings.generation > 0
    assert done == Done(reason="stop")
    ((_, graph),) = comfy.asked
    sampler = graph["3"]["inputs"]
    assert (sampler["seed"], sampler["steps"], sampler["cfg"]) == (7, 3, 5.5)
    assert sampler["sampler_name"] == "dpmpp_2m"
    assert graph["6"]["inputs"]["text"] == "a red disc"
    assert graph["7"]["inputs"]["text"] == "squares"
    assert graph["5"]["inputs"] == {"width": 32, "height": 24, "batch_size": 1}
    assert graph["4"]["inputs"]["ckpt_name"] == "sdxl.safetensors"


async def test_an_old_server_is_understood(comfy: Comfy, engine: comfyui.Engine):
    """It mints the id, sends previews of type 1, and ends with `executing` of no node."""
    comfy.old = True
    events = await paint(engine, ask())
    assert steps(events) == [(1, 3), (2, 3), (3, 3)]
    assert len([e for e in events if isinstance(e, Progress) and e.preview]) == 3
    assert events[-1] == Done(reason="stop")


async def test_several_pictures_have_seeds_of_their_own(comfy: Comfy, engine: comfyui.Engine):
    events = await paint(engine, ask(count=3))
    images = [e for e in events if isinstance(e, Image)]
    assert [(i.part, i.seed) for i in images] == [(0, 7), (1, 8), (2, 9)]
    assert len({i.blob.sha256 for i in images}) == 3
    drawn_again = [e for e in await paint(engine, ask(seed=8)) if isinstance(e, Image)]
    assert drawn_again[0].blob == images[1].blob


async def test_without_a_seed_one_is_chosen_and_told(comfy: Comfy, engine: comfyui.Engine):
    found = [
        e.seed
        for _ in range(2)
        for e in await paint(engine, ask(seed=None))
        if isinstance(e, Image)
    ]
    assert [graph["3"]["inputs"]["seed"] for _, graph in comfy.asked] == found
    assert found[0] != found[1]


@pytest.mark.parametrize(("wanted", "at"), [(0, []), (1, [3]), (2, [2, 3]), (9, [1, 2, 3])])
async def test_as_many_previews_as_wanted(engine: comfyui.Engine, wanted: int, at: list[int]):
    events = await paint(engine, ask(previews=wanted))
    assert [e.at for e in events if isinstance(e, Progress) and e.preview] == at


async def test_ten_runs_report_their_places_and_start_in_order(
    comfy: Comfy, engine: comfyui.Engine
):
    go = asyncio.Event()

    async def hold(_step: int) -> None:
        await go.wait()

    comfy.gate = hold
    started: list[int] = []
    places: dict[int, list[int]] = {n: [] for n in range(10)}
    first = asyncio.Event()

    async def one(n: int) -> None:
        async with aclosing(engine.paint(ask(seed=n, steps=1), Book())) as run:
            async for batch in run:
                for event in batch:
                    if isinstance(event, Progress) and event.what == "queued":
                        places[n].append(event.at)
                    if isinstance(event, Progress) and event.what == "step":
                        started.append(n)
                first.set()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for n in range(10):
            group.create_task(one(n))
            while len(comfy.asked) <= n:
                await asyncio.sleep(0.005)
        while not all(places[n] for n in range(1, 10)):
            await asyncio.sleep(0.005)
        assert [places[n][-1] for n in range(1, 10)] == list(range(1, 10))
        go.set()
    assert started == list(range(10))
    assert places[9] == sorted(places[9], reverse=True)
    assert len(places[9]) > 1


async def begun(run: AsyncIterator[Sequence[Event]], what: str = "step") -> None:
    async for batch in run:
        if any(isinstance(e, Progress) and e.what == what for e in batch):
            return


async def test_a_cancelled_run_is_interrupted_within_a_step(comfy: Comfy, engine: comfyui.Engine):
    async def hold(step: int) -> None:
        if step == 2:
            await asyncio.Event().wait()

    comfy.gate = hold
    run = engine.paint(ask(), Book())
    await begun(run)
    async with asyncio.timeout(1):
        await run.aclose()
    assert comfy.interrupts == 1
    async with asyncio.timeout(5):
        while comfy.running:
            await asyncio.sleep(0.01)
    comfy.gate = Comfy.gate
    assert (await paint(engine, ask()))[-1] == Done(reason="stop")


@pytest.mark.parametrize("old", [False, True])
async def test_cancelling_a_waiting_run_never_stops_another(
    comfy: Comfy, engine: comfyui.Engine, old: bool
):
    comfy.old = old
    go = asyncio.Event()

    async def hold(_step: int) -> None:
        await go.wait()

    comfy.gate = hold
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        first = group.create_task(paint(engine, ask()))
        while not comfy.running:
            await asyncio.sleep(0.005)
        run = engine.paint(ask(), Book())
        await begun(run, "queued")
        assert len(comfy.pending) == 1
        await run.aclose()
        assert comfy.pending == []
        assert comfy.interrupts == 0
        go.set()
        assert (await first)[-1] == Done(reason="stop")


async def test_interrupted_by_somebody_else(comfy: Comfy, engine: comfyui.Engine):
    async def stop(step: int) -> None:
        if step == 2:
            comfy.interrupt()
            await asyncio.Event().wait()

    comfy.gate = stop
    with pytest.raises(EngineError, match="interrupted at the ComfyUI server by somebody else"):
        await paint(engine, ask())
    assert comfy.interrupts == 1, "what has ended is not cancelled"


async def test_out_of_memory_is_said_and_the_next_run_works(comfy: Comfy, engine: comfyui.Engine):
    async def fail(step: int) -> None:
        if step == 2:
            raise MemoryError

    comfy.gate = fail
    with pytest.raises(EngineError, match="ran out of memory in KSampler") as caught:
        await paint(engine, ask())
    assert "secret" not in caught.value.message
    comfy.gate = Comfy.gate
    assert (await paint(engine, ask()))[-1] == Done(reason="stop")


async def test_a_lost_connection_is_made_anew(comfy: Comfy, engine: comfyui.Engine):
    events: list[Event] = []

    async def cut(step: int) -> None:
        if step == 2:
            while not steps(events):
                await asyncio.sleep(0.01)
            before = comfy.queue_asked
            await comfy.cut()
            # The run is looked for. If it ended before, its last steps would not be heard of.
            while comfy.queue_asked == before:
                await asyncio.sleep(0.01)

    comfy.gate = cut
    await paint(engine, ask(), heard=events)
    assert steps(events)[0] == (1, 3)
    assert steps(events)[-1] == (3, 3)
    assert events[-1] == Done(reason="stop")
    assert len(comfy.asked) == 1


async def test_what_ended_while_the_connection_was_lost_is_in_the_history(
    comfy: Comfy, engine: comfyui.Engine
):
    events: list[Event] = []

    async def deafen(step: int) -> None:
        while step == 2 and not steps(events):
            await asyncio.sleep(0.01)
        if step == 2:
            comfy.messages = False
        if step == 3:
            loop = asyncio.get_running_loop()
            loop.call_later(0.3, lambda: loop.create_task(comfy.cut()))

    comfy.gate = deafen
    await paint(engine, ask(), heard=events)
    assert steps(events) == [(1, 3)]
    assert [e.seed for e in events if isinstance(e, Image)] == [7]
    assert events[-1] == Done(reason="stop")


async def test_a_picture_that_breaks_off_is_asked_for_again(comfy: Comfy, engine: comfyui.Engine):
    comfy.lost_views = 2
    events = await paint(engine, ask())
    assert events[-1] == Done(reason="stop")
    assert comfy.lost_views == 0


@pytest.mark.parametrize("fails", [True, False])
async def test_a_failure_while_the_connection_was_lost_is_in_the_history(
    comfy: Comfy, engine: comfyui.Engine, fails: bool
):
    async def deafen(step: int) -> None:
        comfy.messages = False
        loop = asyncio.get_running_loop()
        loop.call_later(0.3, lambda: loop.create_task(comfy.cut()))
        if fails:
            raise MemoryError
        comfy.interrupt()
        await asyncio.Event().wait()

    comfy.gate = deafen
    with pytest.raises(EngineError, match="out of memory" if fails else "somebody else"):
        await paint(engine, ask())


async def test_a_restarted_server_no_longer_knows_the_run():
    at_step = asyncio.Event()

    async def hold(step: int) -> None:
        if step == 2:
            at_step.set()
            await asyncio.Event().wait()

    async with Comfy(gate=hold) as comfy:
        port = comfy.port
        engine = comfyui.Engine(comfyui.Config(url=comfy.url), TIMEOUTS)
        await engine.start()
        drawing = asyncio.get_running_loop().create_task(paint(engine, ask()))
        await asyncio.wait_for(at_step.wait(), 10)
    async with Comfy(port=port):
        with pytest.raises(EngineError, match="was it started anew"):
            await asyncio.wait_for(drawing, 30)
        assert (await paint(engine, ask()))[-1] == Done(reason="stop")
    await engine.aclose()


async def test_a_server_that_stays_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_comfy_run, "_PATIENCE", 0.5)
    at_step = asyncio.Event()

    async def hold(_step: int) -> None:
        at_step.set()
        await asyncio.Event().wait()

    async with Comfy(gate=hold) as comfy:
        engine = comfyui.Engine(comfyui.Config(url=comfy.url), TIMEOUTS)
        await engine.start()
        drawing = asyncio.get_running_loop().create_task(paint(engine, ask()))
        await asyncio.wait_for(at_step.wait(), 10)
    with pytest.raises(EngineError, match="connection to ComfyUI was lost"):
        await asyncio.wait_for(drawing, 30)
    with pytest.raises(BindingDownError):
        await paint(engine, ask())
    await engine.aclose()


async def test_what_is_unknown_is_refused_before_anything_is_queued(
    comfy: Comfy, engine: comfyui.Engine
):
    with pytest.raises(InvalidRequestError, match="'magic'; there are euler,") as caught:
        await paint(engine, ask(sampler="magic"))
    assert caught.value.param == "sampler"
    with pytest.raises(UnknownModelError, match=r"'nothing\.ckpt'"):
        await paint(engine, msgspec.structs.replace(ask(), model="nothing.ckpt"))
    with pytest.raises(UnsupportedParameterError) as refused:
        await paint(engine, ask(inputs=[{"type": "image"}]))
    assert refused.value.param == "size"
    with pytest.raises(InvalidRequestError, match="one picture"):
        await paint(engine, ask(inputs=[{"type": "image"}] * 2))
    with pytest.raises(ModalityError):
        await anext(engine.stream(ask()))
    assert comfy.asked == []


async def test_a_refused_workflow_names_the_parameter(comfy: Comfy, engine: comfyui.Engine):
    with pytest.raises(InvalidRequestError, match=r"EmptyLatentImage \(5\): Value 9000") as caught:
        await paint(engine, ask(size=(9000, 32)))
    assert caught.value.param == "size"
    assert comfy.asked == []


async def test_an_edit_and_a_mask_are_uploaded(comfy: Comfy, engine: comfyui.Engine):
    album = Book()
    red, mask = colour((16, 16), 200), colour((16, 16), 0)
    first = ImagePart(blob=await album.keep(red, "image/png"))
    second = ImagePart(blob=await album.keep(mask, "image/png"))

    def edit(**more: object) -> Request:
        image = ImageAsk(steps=2, inputs=(first,), strength=0.4)
        return msgspec.structs.replace(ask(), image=msgspec.structs.replace(image, **more))

    events = await paint(engine, edit(), album)
    assert events[-1] == Done(reason="stop")
    graph = comfy.asked[0][1]
    assert graph["3"]["inputs"]["denoise"] == 0.4
    assert comfy.uploads[graph["10"]["inputs"]["image"]] == red
    for by, channel in (("alpha", "alpha"), ("luma", "red")):
        await paint(engine, edit(mask=second, mask_by=by), album)
        graph = comfy.asked[-1][1]
        assert comfy.uploads[graph["10"]["inputs"]["image"]] == red
        assert comfy.uploads[graph["11"]["inputs"]["image"]] == mask
        assert graph["11"]["inputs"]["channel"] == channel


async def test_models_and_features(engine: comfyui.Engine):
    assert [card.name for card in await engine.models()] == [
        "v1-5-pruned-emaonly.ckpt",
        "sdxl.safetensors",
    ]
    assert engine.supports == {
        "size",
        "steps",
        "seed",
        "negative_prompt",
        "guidance_scale",
        "sampler",
        "strength",
        "inputs",
        "mask",
    }


def own(comfy: Comfy, folder: Path, graph: object, **inputs: str) -> comfyui.Engine:
    file = folder / "mine.json"
    file.write_text(json.dumps(graph))
    return comfyui.Engine(
        comfyui.Config(url=comfy.url, workflow=str(file), inputs=inputs), TIMEOUTS
    )


def shipped() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(SHIPPED["workflow"][0].read_text())
    return found


async def test_a_workflow_of_ones_own(comfy: Comfy, tmp_path: Path):
    graph = shipped()
    graph["4"]["inputs"]["ckpt_name"] = "mine.safetensors"
    graph["3"]["inputs"]["steps"] = 2
    graph["4"]["_meta"] = {"title": "Load Checkpoint"}
    engine = own(comfy, tmp_path, graph, prompt="6.inputs.text", seed="3.inputs.seed")
    await engine.start()
    assert [card.name for card in await engine.models()] == ["mine"]
    request = Request(model="mine", messages=(say("user", "hi"),), modality="image")
    events = await paint(engine, request)
    assert events[-1] == Done(reason="stop")
    assert steps(events) == [(1, 2), (2, 2)]
    assert comfy.asked[0][1]["4"]["inputs"]["ckpt_name"] == "mine.safetensors"
    await engine.aclose()


async def test_a_workflow_that_saves_nothing_is_an_honest_error(comfy: Comfy, tmp_path: Path):
    graph = shipped()
    graph["9"]["class_type"] = "Nothing"
    engine = own(comfy, tmp_path, graph, prompt="6.inputs.text")
    with pytest.raises(EngineProtocolError, match="needs a SaveImage"):
        await paint(engine, Request(messages=(say("user", "hi"),), modality="image"))
    await engine.aclose()


@pytest.mark.parametrize(
    ("graph", "inputs", "said"),
    [
        ({}, {"prompt": "6.inputs.text"}, "no input 6.inputs.text"),
        ([], {"prompt": "6.inputs.text"}, "API format"),
        ({"nodes": [], "links": []}, {"prompt": "6.inputs.text"}, "API format"),
        (None, {"prompt": "6.text"}, "does not look like"),
        (None, {"prompts": "6.inputs.text"}, "is none of"),
        (None, {}, "does not name prompt"),
    ],
)
async def test_what_is_wrong_with_a_workflow_is_said(
    comfy: Comfy, tmp_path: Path, graph: object, inputs: dict[str, str], said: str
):
    with pytest.raises(ConfigError, match=said) as caught:
        await own(comfy, tmp_path, shipped() if graph is None else graph, **inputs).start()
    assert caught.value.param in ("workflow", "inputs")


async def test_a_missing_file_and_a_missing_server(tmp_path: Path):
    config = comfyui.Config(workflow=str(tmp_path / "no.json"), inputs={"prompt": "6.inputs.text"})
    with pytest.raises(ConfigError, match="can't be read"):
        await comfyui.Engine(config, TIMEOUTS).start()
    engine = comfyui.Engine(comfyui.Config(url="http://127.0.0.1:9"), TIMEOUTS)
    with pytest.raises(BindingDownError):
        await engine.start()
    await engine.aclose()


async def test_a_key_is_sent_and_never_shown(comfy: Comfy):
    config = comfyui.Config(url=comfy.url + "/nowhere", key=Secret("sk-secret"))
    engine = comfyui.Engine(config, TIMEOUTS)
    with pytest.raises(GatewayError) as caught:
        await engine.start()
    assert isinstance(caught.value, EngineRefusedError)
    assert "sk-secret" not in caught.value.message + repr(config)
    await engine.aclose()


def test_vectors_are_there():
    assert len(list(VECTORS.glob("*.json"))) > 10
