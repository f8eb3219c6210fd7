"""What the `diffusers` engine decides without torch: sizes, samplers, requests, messages."""

from pathlib import Path

import msgspec
import pytest

from penstock.core.errors import ConfigError, InvalidRequestError, UnsupportedParameterError
from penstock.core.messages import say
from penstock.core.request import ImageAsk, Request, Sampling
from penstock.engines import _diffusers_ask, _diffusers_folder
from penstock.engines._diffusers_config import Config
from penstock.engines._diffusers_messages import (
    Broke,
    Draw,
    Drawn,
    Facts,
    Over,
    Report,
    Step,
    ask_of,
    packed,
    reports_of,
)
from penstock.engines._diffusers_samplers import find, fitting
from penstock.engines._diffusers_sizes import Sizes, sizes

FACTS = Facts(
    kind="StableDiffusionPipeline",
    tasks=("text", "image", "inpaint"),
    takes=frozenset({"negative_prompt", "guidance_scale", "sampler", "strength"}),
    multiple=8,
    width=512,
    height=512,
    samplers=fitting(["EulerDiscreteScheduler", "DDIMScheduler"]),
    steps={"text": 50, "image": 40, "inpaint": 30},
    device="cpu",
    dtype="float32",
)


def request(seed: int | None = None, *, freeform: bool = False, **asked: object) -> Request:
    return Request(
        modality="image",
        messages=(say("user", "a hat"),),
        image=msgspec.convert(asked, ImageAsk),
        sampling=Sampling(seed=seed),
        freeform=freeform,
    )


def draw(
    asked: Request,
    facts: Facts = FACTS,
    config: Config = Config(),  # noqa: B008 - it is frozen
) -> Draw:
    return _diffusers_ask.draw(asked, facts, config, job=1)


@pytest.mark.parametrize(
    ("own", "multiple", "asked", "area", "made"),
    [
        ((512, 512), 8, (512, 512), 0, (512, 512)),
        ((512, 512), 8, (500, 300), 0, (504, 304)),
        ((512, 512), 8, (1, 1), 0, (8, 8)),
        ((512, 512), 8, (1024, 1024), 0, (1024, 1024)),
        ((512, 512), 8, (2048, 1024), 0, (1440, 728)),
        ((64, 64), 8, (1024, 1024), 4096, (64, 64)),
        ((64, 64), 8, (1792, 1024), 4096, (88, 48)),
        ((1024, 1024), 16, (1, 4096), 0, (16, 4096)),
    ],
)
def test_the_nearest_size(
    own: tuple[int, int],
    multiple: int,
    asked: tuple[int, int],
    area: int,
    made: tuple[int, int],
):
    known = sizes(own, multiple, None)
    assert known.nearest(asked, area) == made
    assert known.fits(made)


def test_the_nearest_size_never_is_too_large():
    for most in (64, 100, 4096, 5000, 12345):
        known = Sizes(8, (64, 64), most)
        for width in (1, 8, 60, 64, 333, 4096):
            for height in (1, 63, 64, 1000):
                assert known.fits(known.nearest((width, height)))


def test_samplers_go_by_names_and_classes_in_any_case():
    known = fitting(["EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler"])
    found = find(" euler A ", known)
    assert found is not None
    assert (found.name, found.kind) == ("Euler a", "EulerAncestralDiscreteScheduler")
    karras = find("DPM++ 2M SDE Karras", known)
    assert karras is not None
    assert karras.options == {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}
    own = find("dpmsolvermultistepscheduler", known)
    assert own is not None
    assert (own.kind, own.options) == ("DPMSolverMultistepScheduler", {})
    assert find("DDIM", known) is None
    assert find("FlowMatchEulerDiscreteScheduler", known) is None


def test_the_defaults_are_the_requests_then_the_configurations_then_the_pipelines():
    assert draw(request()).steps == 50
    assert draw(request(inputs=[{"type": "image"}])).steps == 40
    assert draw(request(inputs=[{"type": "image"}], mask={"type": "image"})).steps == 30
    config = Config(steps=4, guidance_scale=0.0, sampler="euler")
    usual = draw(request(), config=config)
    assert (usual.steps, usual.guidance, usual.sampler) == (4, 0.0, "Euler")
    own = draw(request(steps=9, guidance_scale=3, sampler="DDIM"), config=config)
    assert (own.steps, own.guidance, own.sampler) == (9, 3.0, "DDIM")


def test_a_size_is_made_or_refused_with_what_there_is():
    assert draw(request(size=[512, 768])).width == 512
    with pytest.raises(InvalidRequestError, match="512x512; sides are multiples of 8") as caught:
        draw(request(size=[500, 500]))
    assert caught.value.param == "size"
    free = draw(request(size=[500, 500], freeform=True))
    assert (free.width, free.height) == (504, 504)
    with pytest.raises(InvalidRequestError):
        draw(request(size=[512, 512]), config=Config(max_pixels=64 * 64))


def test_what_a_model_lacks_is_refused_by_name():
    facts = msgspec.structs.replace(FACTS, takes=frozenset(), tasks=("text",), samplers=())
    assert _diffusers_ask.supports(facts) == _diffusers_ask.ALWAYS
    assert _diffusers_ask.supports(FACTS) == _diffusers_ask.EVERYTHING
    picture = {"type": "image"}
    for asked, param in [
        ({"negative_prompt": "x"}, "negative_prompt"),
        ({"guidance_scale": 2}, "guidance_scale"),
        ({"sampler": "DDIM"}, "sampler"),
        ({"inputs": [picture]}, "image"),
        ({"inputs": [picture], "mask": picture}, "mask"),
    ]:
        with pytest.raises(UnsupportedParameterError) as caught:
            draw(request(**asked), facts)  # type: ignore[arg-type]
        assert caught.value.param == param


def test_a_seed_is_chosen_where_none_is_asked_for():
    seeds = {draw(request(seed)).seed for seed in (None, -1) for _ in range(8)}
    assert len(seeds) == 16
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert draw(request(7)).seed == 7


def test_messages_are_read_whole_wherever_they_were_cut():
    said: list[Report] = [
        Step(job=1, at=1, of=2, preview=b"\xff\xd8"),
        Drawn(job=1, part=0, data=bytes(3000), width=1, height=1, seed=1, made_with={"steps": 2}),
        Broke(job=1, message="no", memory=True),
        Over(job=1, nanoseconds=5),
    ]
    whole = b"".join(packed(report) for report in said)
    for cut in [*range(40), len(whole) - 3]:
        buffer = bytearray(whole[:cut])
        found = reports_of(buffer)
        buffer += whole[cut:]
        assert found + reports_of(buffer) == said
        assert not buffer
    ask = draw(request(7))
    assert ask_of(packed(ask)[4:]) == ask


def test_folders_of_pipelines_are_found_by_name(tmp_path: Path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model_index.json").write_text('{"_class_name": "P", "vae": []}')
    (tmp_path / "none").mkdir()
    assert list(_diffusers_folder.find(str(tmp_path))) == ["a", "b"]
    one = _diffusers_folder.find(str(tmp_path / "a"))["a"]
    assert (one.source, one.card.family, one.card.outputs) == (str(tmp_path / "a"), "P", ("image",))
    assert _diffusers_folder.find("org/name")["org/name"].source == "org/name"
    (tmp_path / "a" / "model_index.json").write_text("{")
    with pytest.raises(ConfigError, match=r"a/model_index.json: not valid JSON") as caught:
        _diffusers_folder.find(str(tmp_path / "a"))
    assert caught.value.param == "path"
    with pytest.raises(ConfigError, match="no folder 'x', and it is no hub id"):
        _diffusers_folder.find("/nowhere/x")
