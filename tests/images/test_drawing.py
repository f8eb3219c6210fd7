"""What a picture depends on, with a real pipeline of stock classes."""

from pathlib import Path

import pytest
from tests.images.conftest import Make
from tests.images.painting import Run, ask, by_module, drawn, gradient, kept, opened, painter

from penstock.core.errors import GatewayError, InvalidRequestError, ModalityError
from penstock.core.events import Done, Image, Progress, Usage
from penstock.core.request import Request
from penstock.engines.diffusers import Engine
from penstock.testing.engines import Scrapbook

pytestmark = [pytest.mark.images, pytest.mark.asyncio(loop_scope="module")]


async def test_a_run_is_steps_with_previews_then_the_picture_with_what_drew_it(engine: Engine):
    run = await drawn(engine, ask("a red circle", seed=7, steps=5, negative_prompt="blue"))
    assert [(step.at, step.of) for step in run.steps] == [(n, 5) for n in range(1, 6)]
    shown = [step.preview for step in run.steps if step.preview is not None]
    assert shown
    for preview in shown:
        small = opened(run.album.kept[preview.sha256])
        assert (small.format, small.size) == ("JPEG", (64, 64))
    image, usage, done = run.events[-3:]
    assert isinstance(image, Image)
    assert (image.width, image.height, image.seed) == (64, 64, 7)
    used = {"steps": 5, "sampler": "DDIMScheduler", "guidance_scale": 7.5}
    assert image.made_with == used
    assert isinstance(usage, Usage)
    assert usage.images == 1
    assert usage.timings is not None
    assert usage.timings.generation > 0
    assert done == Done(reason="stop")
    picture = run.picture()
    assert (picture.format, picture.size) == ("PNG", (64, 64))
    told = {
        "prompt": "a red circle",
        "negative_prompt": "blue",
        "seed": "7",
        "steps": "5",
        "model": "tiny-text",
        "Software": "Penstock",
    }
    assert told.items() <= picture.info.items()
    assert picture.info["parameters"].splitlines()[:2] == ["a red circle", "Negative prompt: blue"]


async def test_it_is_the_picture_that_the_pipeline_draws_by_itself(
    engine: Engine, make: Make, tmp_path: Path
):
    out = tmp_path / "direct.png"
    by_module("tests.images.direct", str(make("text")), "a red circle", "4", "11", str(out))
    run = await drawn(engine, ask("a red circle", seed=11, steps=4))
    assert run.pixels() == opened(out.read_bytes()).tobytes()


async def test_seeds_draw_again_and_several_pictures_count_on(engine: Engine):
    three = await drawn(engine, ask(seed=5, count=3))
    assert [(image.part, image.seed) for image in three.images] == [(0, 5), (1, 6), (2, 7)]
    assert [(step.at, step.of) for step in three.steps] == [(n, 9) for n in range(1, 10)]
    assert three.steps[3].text == "picture 2 of 3"
    again = await drawn(engine, ask(seed=6))
    assert three.pixels(1) == again.pixels()
    assert len({three.pixels(n) for n in range(3)}) == 3
    first, second = [await drawn(engine, ask(seed=seed)) for seed in (None, -1)]
    assert first.images[0].seed != second.images[0].seed
    assert first.pixels() == (await drawn(engine, ask(seed=first.images[0].seed))).pixels()


@pytest.mark.parametrize(
    "changed",
    [
        {"text": "a blue square"},
        {"negative_prompt": "dull"},
        {"guidance_scale": 2},
        {"steps": 4},
        {"sampler": "Euler a"},
        {"sampler": "dpm++ 2m karras"},
        {"sampler": "UniPCMultistepScheduler"},
        {"size": [64, 128]},
    ],
    ids=str,
)
async def test_every_setting_changes_the_picture(engine: Engine, changed: dict[str, object]):
    before = await drawn(engine, ask())
    after = await drawn(engine, ask(**changed))  # type: ignore[arg-type]
    assert before.pixels() != after.pixels()
    used = after.images[0].made_with
    if "sampler" in changed:
        assert str(used["sampler"]).casefold() == str(changed["sampler"]).casefold()
    if "size" in changed:
        assert after.picture().size == (64, 128)


async def test_a_sampler_leaves_nothing_behind(engine: Engine):
    before = await drawn(engine, ask())
    await drawn(engine, ask(sampler="Heun"))
    assert (await drawn(engine, ask())).pixels() == before.pixels()


@pytest.mark.parametrize(("file_format", "name"), [("jpeg", "JPEG"), ("webp", "WEBP")])
async def test_formats_and_their_quality(engine: Engine, file_format: str, name: str):
    fine, coarse = [
        await drawn(engine, ask(file_format=file_format, compression=quality))
        for quality in (95, 10)
    ]
    assert fine.picture().format == coarse.picture().format == name
    assert fine.images[0].blob.media_type == f"image/{file_format}"
    assert len(coarse.file()) < len(fine.file())


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"sampler": "best"}, "sampler"),
        ({"size": [60, 64]}, "size"),
        ({"size": [2048, 2048]}, "size"),
        ({"seed": -2}, "seed"),
        ({"seed": 2**60}, "seed"),
        ({"file_format": "png", "compression": 50}, "output_compression"),
        ({"inputs": [{"type": "image"}] * 2}, "image"),
        ({"inputs": [{"type": "image"}], "strength": 0.1}, "strength"),
    ],
    ids=str,
)
async def test_what_can_not_be_done_is_refused_by_name(
    engine: Engine, asked: dict[str, object], param: str
):
    with pytest.raises(InvalidRequestError) as caught:
        await drawn(engine, ask(**asked))  # type: ignore[arg-type]
    assert caught.value.param == param
    if param == "sampler":
        assert "Euler a" in caught.value.message
        assert "DPMSolverMultistepScheduler" in caught.value.message


async def test_a_free_form_request_gets_the_nearest_size(engine: Engine):
    free = {"freeform": True}
    for asked, made in [((60, 70), (64, 72)), ((4096, 2048), (88, 48))]:
        request = Request(**{**_fields(ask(size=asked)), **free})  # type: ignore[arg-type]
        assert (await drawn(engine, request)).picture().size == made


def _fields(request: Request) -> dict[str, object]:
    return {name: getattr(request, name) for name in request.__struct_fields__}


async def test_previews_are_as_many_as_were_asked_for(engine: Engine):
    for wanted in (0, 2):
        run = await drawn(engine, ask(steps=9, previews=wanted, size=[128, 128]))
        assert len([step for step in run.steps if step.preview is not None]) == wanted


# ── pictures to start from ───────────────────────────────────────────────────────────────────────


async def test_a_picture_to_start_from_is_started_from(engine: Engine):
    album = Scrapbook()
    dark = await kept(album, gradient((120, 90)).point(lambda value: value // 4))
    light = await kept(album, gradient((120, 90)))
    runs = [
        await drawn(
            engine, ask(steps=6, strength=0.5, inputs=[{"type": "image", "blob": p.blob}]), album
        )
        for p in (dark, light)
    ]
    assert runs[0].pixels() != runs[1].pixels()
    for run in runs:
        assert run.picture().size == (120, 88)
        assert run.steps[-1].of == 3
        assert run.images[0].made_with["strength"] == 0.5


@pytest.mark.parametrize("by", ["luma", "alpha"])
async def test_inpainting_draws_inside_the_mask_and_nowhere_else(engine: Engine, by: str):
    album = Scrapbook()
    before = gradient()
    mask = gradient().convert("L").point(lambda _: 0)
    mask.paste(255, (16, 16, 40, 56))
    shown = mask
    if by == "alpha":
        shown = before.copy()
        shown.putalpha(mask.point(lambda value: 255 - value))
    run = await drawn(
        engine,
        ask(
            inputs=[{"type": "image", "blob": (await kept(album, before)).blob}],
            mask={"type": "image", "blob": (await kept(album, shown)).blob},
            mask_by=by,
        ),
        album,
    )
    after = run.picture()
    changed = 0
    for x in range(64):
        for y in range(64):
            inside = 16 <= x < 40 and 16 <= y < 56
            same = before.getpixel((x, y)) == after.getpixel((x, y))
            assert same or inside
            changed += not same
    assert changed > 24 * 40 // 2


async def test_a_model_for_inpainting_says_what_it_needs(make: Make):
    album = Scrapbook()
    picture = {"type": "image", "blob": (await kept(album, gradient())).blob}
    async with painter(make("inpaint")) as engine:
        assert {"inputs", "mask", "strength"} <= engine.supports
        for asked, param in [({}, "image"), ({"inputs": [picture]}, "mask")]:
            with pytest.raises(InvalidRequestError) as caught:
                await drawn(engine, ask(**asked), album)  # type: ignore[arg-type]
            assert caught.value.param == param
        run = await drawn(engine, ask(inputs=[picture], mask=picture), album)
        assert run.picture().size == (64, 64)


async def test_a_picture_that_the_checker_took_back_is_not_shown(make: Make):
    async with painter(make("prude")) as engine:
        run = await drawn(engine, ask(count=2))
        assert run.images == []
        told = [e.text for e in run.events if isinstance(e, Progress) and "withheld" in e.text]
        assert len(told) == 2
        usage, done = run.events[-2:]
        assert isinstance(usage, Usage)
        assert usage.images == 0
        assert done == Done(reason="filtered")


async def test_a_pipeline_that_calls_nobody_is_watched_by_its_scheduler(make: Make):
    async with painter(make("old")) as engine:
        assert not {"inputs", "mask", "strength"} & engine.supports
        run = await drawn(engine, ask("a red", steps=6, count=2, previews=2))
        assert [(step.at, step.of) for step in run.steps] == [(n, 12) for n in range(1, 13)]
        assert len([step for step in run.steps if step.preview is not None]) == 4
        assert run.pixels(0) != run.pixels(1)
        with pytest.raises(InvalidRequestError, match="no input picture"):
            await drawn(engine, ask(inputs=[{"type": "image"}]))
        with pytest.raises(InvalidRequestError, match="takes no mask"):
            await drawn(engine, ask(inputs=[{"type": "image"}], mask={"type": "image"}))
        left = await Run(engine, ask("a red", steps=900)).until_step(2)
        assert left.images == []
        assert (await drawn(engine, ask("a red", steps=6))).pixels() == run.pixels()


async def test_it_says_nothing(engine: Engine):
    with pytest.raises(ModalityError):
        async for _ in engine.stream(ask()):
            pass


async def test_an_unknown_model_is_named(engine: Engine):
    request = Request(**{**_fields(ask()), "model": "none"})  # type: ignore[arg-type]
    with pytest.raises(GatewayError, match="no model 'none'"):
        await drawn(engine, request)
