"""The `sdwebui` engine against a server with Automatic1111's API."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import aclosing
from io import BytesIO

import pytest
from PIL import Image as Pillow
from tests.contract.image_vectors import (
    INPUT,
    Case,
    MemoryAlbum,
    base64,
    cases,
    named,
    png,
    told,
)
from tests.integration.sdwebui_server import (
    FINISHED,
    FOREIGN,
    PASSWORD,
    PREVIEW,
    USER,
    Fault,
    SdWebui,
    sdwebui,
)

from penstock.core.errors import (
    BindingDownError,
    ConfigError,
    EngineError,
    EngineProtocolError,
    EngineTimeoutError,
    GatewayError,
    InvalidRequestError,
    ModalityError,
    OverloadedError,
    UnknownModelError,
)
from penstock.core.events import Done, Event, Image, Progress, Usage
from penstock.core.messages import ImagePart, say
from penstock.core.ports import Timeouts
from penstock.core.request import ImageAsk, Request, Sampling
from penstock.core.secrets import Secret
from penstock.engines.sdwebui import Config, Engine

SECONDS = 20


@pytest.fixture
async def server() -> AsyncIterator[SdWebui]:
    async with asyncio.timeout(SECONDS), sdwebui() as made:
        yield made


@pytest.fixture
async def engine(server: SdWebui) -> AsyncIterator[Engine]:
    made = engine_at(server)
    yield made
    await made.aclose()


def engine_at(server: SdWebui, timeouts: Timeouts | None = None, **more: object) -> Engine:
    config = Config(url=server.url, poll_seconds=0.05, **more)  # type: ignore[arg-type]
    return Engine(config, timeouts or Timeouts())


def ask(
    text: str = "a hill",
    model: str = "",
    seed: int | None = None,
    *,
    freeform: bool = False,
    **image: object,
) -> Request:
    return Request(
        model=model,
        messages=(say("user", text),),
        modality="image",
        freeform=freeform,
        sampling=Sampling(seed=seed),
        image=ImageAsk(**image),  # type: ignore[arg-type]
    )


def part(data: bytes) -> ImagePart:
    return ImagePart(blob=named(data))


async def painted(
    engine: Engine, request: Request, album: MemoryAlbum | None = None
) -> list[Event]:
    return [e async for batch in engine.paint(request, album or MemoryAlbum()) for e in batch]


def previews(events: list[Event], album: MemoryAlbum) -> list[bytes]:
    shown = [event.preview for event in events if isinstance(event, Progress)]
    return [album.kept[blob.sha256] for blob in shown if blob is not None]


def made_modes(server: SdWebui, mode: str) -> None:
    server.names = mode == "by name"
    server.internal = mode != "alone, no route"


MODES = ["by name", "alone", "alone, no route"]


@pytest.mark.parametrize("mode", MODES)
async def test_steps_previews_and_the_picture(server: SdWebui, engine: Engine, mode: str) -> None:
    made_modes(server, mode)
    if mode == "alone":
        await painted(engine, ask("learns that names are nothing here", steps=1))
    album = MemoryAlbum()
    events = await painted(engine, ask(steps=40, seed=7, guidance_scale=5.5), album)
    steps = [e for e in events if isinstance(e, Progress)]
    assert {step.of for step in steps} == {40}
    places = [step.at for step in steps]
    assert places == sorted(places)
    assert len(places) > 1
    assert set(previews(events, album)) == {PREVIEW}
    *_, image, usage, done = events
    assert isinstance(image, Image)
    assert (image.seed, image.width, image.height, image.prompt) == (7, 8, 8, None)
    assert album.kept[image.blob.sha256] == FINISHED
    assert image.made_with["steps"] == 40
    assert usage == Usage(input_tokens=0, output_tokens=0, images=1)
    assert done == Done(reason="stop")
    path, body = server.asked[-1]
    assert path == "/sdapi/v1/txt2img"
    assert str(body.pop("force_task_id")).startswith("task(penstock-")
    assert body == {"prompt": "a hill", "steps": 40, "seed": 7, "cfg_scale": 5.5}
    assert server.interrupts == []


async def test_the_answer_is_read_as_published(
    server: SdWebui, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (case,) = cases("sdwebui", "events.jsonl")

    async def answered(_: Engine, path: str, body: bytes) -> bytes:
        del path, body
        return case.answer()

    monkeypatch.setattr(Engine, "_post", answered)
    events = await painted(engine, ask("analog style flash camera"))
    assert told(events) == case.events()


async def test_several_pictures_have_a_seed_each(server: SdWebui, engine: Engine) -> None:
    events = await painted(engine, ask(count=3, steps=4, seed=40))
    images = [event for event in events if isinstance(event, Image)]
    assert [(image.part, image.seed) for image in images] == [(0, 40), (1, 41), (2, 42)]
    steps = [event for event in events if isinstance(event, Progress)]
    assert {step.of for step in steps} == {12}
    assert server.asked[0][1]["n_iter"] == 3


async def test_everything_that_can_be_asked(server: SdWebui, engine: Engine) -> None:
    request = ask(
        model="v2-1_768-ema-pruned",
        negative_prompt="blurry",
        size=(640, 384),
        sampler="dpm++ 2m KARRAS",
        steps=2,
    )
    await painted(engine, request)
    body = server.asked[0][1]
    del body["force_task_id"]
    assert body == {
        "prompt": "a hill",
        "negative_prompt": "blurry",
        "steps": 2,
        "width": 640,
        "height": 384,
        "sampler_name": "DPM++ 2M",
        "scheduler": "Karras",
        "override_settings": {"sd_model_checkpoint": "v2-1_768-ema-pruned.ckpt [ad2a33c361]"},
    }


@pytest.mark.parametrize(
    ("by", "mask", "grey"),
    [
        ("luma", png("white"), 255),
        ("luma", png("black"), 0),
        ("alpha", png("#ffffff00", mode="RGBA"), 255),
        ("alpha", png("#ffffffff", mode="RGBA"), 0),
    ],
)
async def test_a_picture_and_a_mask(
    server: SdWebui, engine: Engine, by: str, mask: bytes, grey: int
) -> None:
    given = png("blue", (102, 203))
    request = ask(inputs=(part(given),), mask=part(mask), mask_by=by, strength=0.4, steps=1)
    await painted(engine, request, MemoryAlbum(given, mask))
    path, body = server.asked[0]
    assert path == "/sdapi/v1/img2img"
    assert body["init_images"] == [base64(given)]
    assert (body["width"], body["height"], body["denoising_strength"]) == (104, 200, 0.4)
    assert (body["inpainting_mask_invert"], body["inpainting_fill"]) == (0, 1)
    with Pillow.open(BytesIO(b64decode(str(body["mask"])))) as sent:
        assert (sent.mode, sent.getpixel((2, 2))) == ("L", grey)


@pytest.mark.parametrize(
    ("request_", "param", "says"),
    [
        (ask(sampler="Euler b"), "sampler", "Euler a, Euler"),
        (ask(sampler="Euler a Kerras"), "sampler", "DPM\\+\\+ 2M"),
        (ask(size=(500, 500)), "size", "multiples of 8"),
        (ask(size=(8, 8)), "size", "at least 64"),
        (ask(inputs=(part(INPUT), part(INPUT))), "image", "one picture"),
    ],
)
async def test_bad_input_is_refused_before_anything_is_queued(
    server: SdWebui, engine: Engine, request_: Request, param: str, says: str
) -> None:
    with pytest.raises(InvalidRequestError, match=says) as caught:
        await painted(engine, request_, MemoryAlbum(INPUT))
    assert caught.value.param == param
    assert server.asked == []


async def test_an_unknown_model_is_refused(server: SdWebui, engine: Engine) -> None:
    with pytest.raises(UnknownModelError):
        await painted(engine, ask(model="nobody-has-this"))
    assert server.asked == []


async def test_a_free_form_request_gets_the_nearest_size(server: SdWebui, engine: Engine) -> None:
    await painted(engine, ask(freeform=True, size=(500, 30), steps=1))
    assert (server.asked[0][1]["width"], server.asked[0][1]["height"]) == (496, 64)


async def test_old_servers_have_the_schedule_in_the_name(server: SdWebui, engine: Engine) -> None:
    server.has_schedulers = False
    with pytest.raises(InvalidRequestError):
        await painted(engine, ask(sampler="DPM++ 2M Karras"))
    await painted(engine, ask(sampler="k_euler", steps=1))
    assert server.asked[0][1]["sampler_name"] == "Euler"


# ── one after the other ──────────────────────────────────────────────────────────────────────────


async def test_ten_runs_report_their_places_and_start_in_order(
    server: SdWebui, engine: Engine
) -> None:
    names = [f"run {n}" for n in range(10)]
    server.step_seconds = 0.001
    async with asyncio.TaskGroup() as group:
        runs = []
        for name in names:
            runs.append(group.create_task(painted(engine, ask(name, steps=5))))
            await asyncio.sleep(0)
    assert [prompt for prompt, _ in server.drawn] == names
    for n, run in enumerate(runs):
        places = [e.at for e in run.result() if isinstance(e, Progress) and e.what == "queued"]
        assert places == list(range(n, 0, -1))


async def test_the_queue_is_bounded(server: SdWebui) -> None:
    engine = engine_at(server, max_queue=0)
    server.gate = asyncio.Semaphore(0)
    run = asyncio.ensure_future(painted(engine, ask(steps=1)))
    while not server.asked:
        await asyncio.sleep(0.01)
    with pytest.raises(OverloadedError):
        await painted(engine, ask())
    server.gate.release()
    assert isinstance((await run)[-1], Done)
    await engine.aclose()


async def test_one_who_waits_can_leave(server: SdWebui, engine: Engine) -> None:
    server.gate = asyncio.Semaphore(0)
    first = asyncio.ensure_future(painted(engine, ask("first", steps=1)))
    while not server.asked:
        await asyncio.sleep(0.01)
    async with aclosing(engine.paint(ask("second"), MemoryAlbum())) as run:  # type: ignore[type-var]
        (place,) = await anext(run)
        assert isinstance(place, Progress)
        assert (place.what, place.at, place.of) == ("queued", 1, 1)
    server.gate.release()
    await first
    assert [prompt for prompt, _ in server.drawn] == ["first"]
    assert server.interrupts == []


@pytest.mark.parametrize("mode", MODES)
async def test_a_closed_run_is_interrupted_within_one_step(
    server: SdWebui, engine: Engine, mode: str
) -> None:
    made_modes(server, mode)
    server.gate = asyncio.Semaphore(3)
    run = engine.paint(ask("closed"), MemoryAlbum())
    if mode == "alone":
        server.gate = asyncio.Semaphore(4)
        await painted(engine, ask("learns", steps=1))
    async with aclosing(run) as batches:  # type: ignore[type-var]
        async for batch in batches:
            if any(isinstance(event, Progress) and event.at == 4 for event in batch):
                break
    assert server.interrupts == ["closed"]
    server.gate.release()
    await asyncio.gather(*server.handlers)
    assert server.drawn[-1] == ("closed", 4)  # the step that it was in, and no further
    server.gate = None
    assert isinstance((await painted(engine, ask(steps=2)))[-1], Done)


@pytest.mark.parametrize("mode", ["by name", "alone, no route"])
async def test_a_cancelled_task_interrupts_too(server: SdWebui, engine: Engine, mode: str) -> None:
    made_modes(server, mode)
    run = asyncio.ensure_future(painted(engine, ask("cancelled", steps=10_000)))
    while not server.asked:
        await asyncio.sleep(0.01)
    run.cancel()  # it may not even have begun to draw
    await asyncio.wait([run])
    assert run.cancelled()
    await asyncio.gather(*server.handlers)
    assert server.interrupts[-1] == "cancelled"
    assert server.drawn[0][1] < 1000


@pytest.mark.parametrize("mode", ["by name", "alone, no route"])
async def test_a_lost_connection_is_an_error_and_the_server_is_stopped(
    server: SdWebui, engine: Engine, mode: str
) -> None:
    made_modes(server, mode)
    server.fault = "lost"
    with pytest.raises(EngineError):
        await painted(engine, ask("lost", steps=10_000))
    await asyncio.gather(*server.handlers)
    assert server.interrupts == ["lost"]
    assert server.drawn[0][1] < 1000


# ── other people ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", MODES)
async def test_nobody_elses_pictures_are_shown(server: SdWebui, engine: Engine, mode: str) -> None:
    made_modes(server, mode)
    foreign = asyncio.ensure_future(
        server.job("task(somebody)", {"prompt": "theirs", "steps": 20}, FOREIGN)
    )
    server.handlers.append(foreign)
    await asyncio.sleep(0.05)
    album = MemoryAlbum()
    events = await painted(engine, ask("ours", steps=20), album)
    assert FOREIGN not in album.kept.values()
    waited = [e for e in events if isinstance(e, Progress) and e.what == "queued"]
    if mode != "alone":  # a server that says nothing of our name says nothing at all at first
        assert "somebody else" in waited[0].text
    # By name ours are known, though; else nothing is.
    assert bool(previews(events, album)) == (mode == "by name")
    assert isinstance(events[-1], Done)


async def test_nobody_else_is_interrupted(server: SdWebui, engine: Engine) -> None:
    server.gate = asyncio.Semaphore(1)
    foreign = server.job("task(somebody)", {"prompt": "theirs", "steps": 3}, FOREIGN)
    server.handlers.append(asyncio.ensure_future(foreign))
    await asyncio.sleep(0.05)
    run = asyncio.ensure_future(painted(engine, ask("ours", steps=10_000)))
    while not server.asked:
        await asyncio.sleep(0.01)
    run.cancel()
    await asyncio.wait([run])
    assert server.interrupts == []
    # What waits there for its turn is stopped when that comes, by the run that is next here.
    gate, server.gate = server.gate, None
    gate.release()
    events = await painted(engine, ask("next", steps=3))
    assert isinstance(events[-1], Done)
    assert [prompt for prompt, _ in server.drawn] == ["theirs", "ours", "next"]
    assert server.interrupts == ["ours"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("poll_seconds", [0.02, 60.0])
async def test_an_interrupt_by_somebody_else_is_told(
    server: SdWebui, mode: str, poll_seconds: float
) -> None:
    """Also one that falls between two looks, of which the answer itself says nothing."""
    made_modes(server, mode)
    server.gate = asyncio.Semaphore(2)
    engine = Engine(Config(url=server.url, poll_seconds=poll_seconds), Timeouts())
    try:
        run = asyncio.ensure_future(painted(engine, ask(steps=20)))
        while server.step < 3:
            await asyncio.sleep(0.01)
        await server.interrupt(None)  # type: ignore[arg-type]
        server.gate.release()
        with pytest.raises(EngineError, match="interrupted at the server"):
            await run
    finally:
        await engine.aclose()


# ── faults ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ("cut", EngineError, "broke off|closed"),
        ("html", EngineProtocolError, "web page"),
        ("memory", EngineError, "OutOfMemoryError: CUDA out of memory"),
        ("validation", InvalidRequestError, "not a valid integer"),
        ("bad_base64", EngineProtocolError, "base64"),
        ("no_picture", EngineProtocolError, "without a picture"),
    ],
)
@pytest.mark.parametrize("mode", ["by name", "alone, no route"])
async def test_faults(
    server: SdWebui, engine: Engine, fault: Fault, kind: type[GatewayError], says: str, mode: str
) -> None:
    made_modes(server, mode)
    server.fault = fault
    with pytest.raises(kind, match=says):
        await painted(engine, ask(steps=2))
    server.fault = ""
    assert isinstance((await painted(engine, ask(steps=2)))[-1], Done)


async def test_silence_ends_in_a_timeout(server: SdWebui) -> None:
    server.fault = "silent"
    engine = engine_at(server, Timeouts(connect=0.2, first_token=0.2))
    with pytest.raises(EngineTimeoutError):
        await painted(engine, ask())
    await engine.aclose()


async def test_a_stuck_step_ends_in_a_timeout_and_an_interrupt(server: SdWebui) -> None:
    server.gate = asyncio.Semaphore(2)
    engine = engine_at(server, Timeouts(between_tokens=0.3))
    with pytest.raises(EngineTimeoutError):
        await painted(engine, ask("stuck"))
    assert server.interrupts == ["stuck"]
    server.gate.release()
    await engine.aclose()


async def test_a_name_and_a_password(server: SdWebui) -> None:
    server.auth = True
    engine = engine_at(server, user=USER, password=Secret(PASSWORD))
    assert isinstance((await painted(engine, ask(steps=2)))[-1], Done)
    await engine.aclose()
    engine = engine_at(server, user=USER, password=Secret("wrong"))
    with pytest.raises(BindingDownError, match="Incorrect username or password"):
        await engine.start()
    await engine.aclose()
    with pytest.raises(ConfigError) as caught:
        engine_at(server, user=USER)
    assert caught.value.param == "password"


async def test_no_server_and_no_api(server: SdWebui) -> None:
    engine = Engine(Config(url="http://127.0.0.1:1"), Timeouts())
    for attempt in (engine.start(), engine.models(), painted(engine, ask())):
        with pytest.raises(BindingDownError):
            await attempt
    await engine.aclose()
    engine = Engine(Config(url=f"{server.url}/no/such"), Timeouts())
    with pytest.raises(BindingDownError, match="--api"):
        await engine.start()
    await engine.aclose()


async def test_the_loaded_model_comes_first(server: SdWebui, engine: Engine) -> None:
    await engine.start()
    assert [(card.name, card.outputs) for card in await engine.models()] == [
        ("v2-1_768-ema-pruned", ("image",)),
        ("v1-5-pruned-emaonly", ("image",)),
    ]
    with pytest.raises(ModalityError):
        await anext(aiter(engine.stream(ask())))


@pytest.mark.parametrize("case", cases("sdwebui", "source.txt"), ids=lambda c: c.name)
def test_every_vector_names_its_source(case: Case) -> None:
    assert len((case.folder / "source.txt").read_text().split()) > 5
