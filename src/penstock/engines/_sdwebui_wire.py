"""The API of Automatic1111's web UI, which Forge and SD.Next have too: bodies and answers. Pure.

Source: `modules/api/api.py` and `models.py`, `modules/progress.py`, `modules/shared_state.py`
and `modules/sd_samplers.py` of AUTOMATIC1111/stable-diffusion-webui 1.10.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from penstock.core.errors import EngineProtocolError, InvalidRequestError, UnknownModelError
from penstock.core.request import ImageAsk, Request, prompt
from penstock.wire import json

MULTIPLE: Final = 8
"""Sides are made in pixels of the latent space, which are 8 wide; the rest would be cut off."""
_LEAST: Final = 64

Item = TypeVar("Item", bound=msgspec.Struct)
Value = str | int | float | bool | list[str] | dict[str, str] | None


class Model(msgspec.Struct, frozen=True):
    """An entry of `/sdapi/v1/sd-models`."""

    title: str
    model_name: str
    hash: str | None = None
    sha256: str | None = None


class Sampler(msgspec.Struct, frozen=True):
    """An entry of `/sdapi/v1/samplers`."""

    name: str
    aliases: list[str] | None = None


class Scheduler(msgspec.Struct, frozen=True):
    """An entry of `/sdapi/v1/schedulers`, from version 1.9 on."""

    name: str
    label: str
    aliases: list[str] | None = None


class Options(msgspec.Struct, frozen=True):
    """What of `/sdapi/v1/options` is of use here."""

    sd_model_checkpoint: str | None = None


def listed(data: bytes, kind: type[Item]) -> list[Item]:
    """A list of any of these. Raises `EngineProtocolError`."""
    found = json.decode(data, list[msgspec.Raw], EngineProtocolError)
    return [json.decode(bytes(item), kind, EngineProtocolError) for item in found]


class Facts(msgspec.Struct, frozen=True):
    """What a server has. `samplers` is none where it does not tell."""

    models: Sequence[Model]
    samplers: Sequence[Sampler] | None
    schedulers: Sequence[Scheduler]
    current: str | None


class State(msgspec.Struct, frozen=True):
    """`state` of the progress, which is that of the whole server."""

    job: str = ""
    job_count: int = 0
    job_no: int = 0
    job_timestamp: str = "0"
    sampling_step: int = 0
    sampling_steps: int = 0
    interrupted: bool | str = False

    @property
    def busy(self) -> bool:
        """Whether it works on anything; a count of -1 means that it has just begun."""
        return self.job_count != 0


class Progressed(msgspec.Struct, frozen=True):
    """`GET /sdapi/v1/progress`."""

    state: State
    current_image: str | None = None


class OwnProgress(msgspec.Struct, frozen=True):
    """`POST /internal/progress`, of one task."""

    active: bool
    queued: bool = False
    completed: bool = False
    live_preview: str | None = None
    id_live_preview: int | None = None


class Info(msgspec.Struct, frozen=True):
    """`info` of an answer, itself JSON text."""

    all_seeds: list[int] | None = None
    seed: int | None = None
    all_prompts: list[str] | None = None
    index_of_first_image: int = 0
    steps: int | None = None
    cfg_scale: float | None = None
    sampler_name: str | None = None
    denoising_strength: float | None = None
    sd_model_name: str | None = None
    sd_model_hash: str | None = None
    extra_generation_params: dict[str, object] | None = None


class Answer(msgspec.Struct, frozen=True):
    """Of `txt2img` and `img2img`."""

    images: list[str] | None = None
    info: str | None = None


def answer(data: bytes) -> tuple[Answer, Info]:
    """Raises `EngineProtocolError` for what is no answer, or one without a picture."""
    found = json.decode(data, Answer, EngineProtocolError)
    if not found.images:
        raise EngineProtocolError("the upstream answered without a picture")
    return found, json.decode(found.info or "{}", Info, EngineProtocolError)


def checkpoint(name: str, models: Sequence[Model]) -> str:
    """The title of a model, for `override_settings`. Raises `UnknownModelError`.

    The server itself would draw with the model that it has loaded and say nothing.
    """
    for model in models:
        if name in (model.title, model.model_name, model.hash, model.sha256):
            return model.title
    raise UnknownModelError(f"the server has no model {name!r}", param="model")


def sampling(asked: str, facts: Facts) -> dict[str, str]:
    """`sampler_name`, and `scheduler` where it ends with the name of one (`DPM++ 2M Karras`).

    Raises `InvalidRequestError`: from version 1.9 on the server itself would take its first sampler
    and say nothing.
    """
    if facts.samplers is None:
        return {"sampler_name": asked}
    if (name := _sampler(asked, facts.samplers)) is not None:
        return {"sampler_name": name}
    for scheduler in facts.schedulers:
        for ending in (scheduler.label, scheduler.name, *(scheduler.aliases or ())):
            if asked.lower().endswith(f" {ending.lower()}"):
                name = _sampler(asked[: -len(ending) - 1], facts.samplers)
                if name is not None:
                    return {"sampler_name": name, "scheduler": scheduler.label}
    known = ", ".join(sampler.name for sampler in facts.samplers)
    raise InvalidRequestError(
        f"sampler: the server has none called {asked!r}; it knows {known}", param="sampler"
    )


def _sampler(asked: str, samplers: Sequence[Sampler]) -> str | None:
    wanted = asked.lower()
    for sampler in samplers:
        if wanted in (sampler.name.lower(), *(alias.lower() for alias in sampler.aliases or ())):
            return sampler.name
    return None


def size(request: Request, asked: ImageAsk, own: tuple[int, int] | None) -> tuple[int, int] | None:
    """The size to ask for: of a free-form request and of an input picture (`own`) the nearest.

    Raises `InvalidRequestError` naming `size`.
    """
    if asked.size is None:
        return None if own is None else _nearest(own)
    if asked.size == _nearest(asked.size):
        return asked.size
    if request.freeform:
        return _nearest(asked.size)
    raise InvalidRequestError(
        f"size: sides are multiples of {MULTIPLE}, at least {_LEAST}", param="size"
    )


def _nearest(wanted: tuple[int, int]) -> tuple[int, int]:
    across, down = (max(_LEAST, round(side / MULTIPLE) * MULTIPLE) for side in wanted)
    return across, down


def body(
    request: Request, asked: ImageAsk, facts: Facts, model: str, own: tuple[int, int] | None
) -> dict[str, Value]:
    """The fields that `txt2img` and `img2img` share. What is not asked for is not sent.

    Several pictures are drawn one after the other (`n_iter`): a batch at once may not fit.
    """
    sides = size(request, asked, own)
    found: dict[str, Value] = {
        "prompt": prompt(request),
        "negative_prompt": asked.negative_prompt,
        "seed": request.sampling.seed,
        "steps": asked.steps,
        "cfg_scale": asked.guidance_scale,
        "width": sides[0] if sides is not None else None,
        "height": sides[1] if sides is not None else None,
        "n_iter": asked.count if asked.count != 1 else None,
    }
    if asked.sampler is not None:
        found |= sampling(asked.sampler, facts)
    if model:
        found["override_settings"] = {"sd_model_checkpoint": checkpoint(model, facts.models)}
    return {name: value for name, value in found.items() if value is not None}


def from_picture(picture: str, mask: str | None, strength: float | None) -> dict[str, Value]:
    """What `img2img` has more. Pictures in base64; `mask` is white where to draw anew.

    Under a mask the server starts from the picture (`inpainting_fill` 1) and looks at the whole of
    it (`inpaint_full_res` off), as its own page does.
    """
    found: dict[str, Value] = {"init_images": [picture]}
    if strength is not None:
        found["denoising_strength"] = strength
    if mask is not None:
        found |= {
            "mask": mask,
            "inpainting_mask_invert": 0,
            "inpainting_fill": 1,
            "inpaint_full_res": False,
        }
    return found


def made_with(info: Info) -> dict[str, str | int | float | bool]:
    """The settings that the server says it used."""
    schedule = (info.extra_generation_params or {}).get("Schedule type")
    found: dict[str, str | int | float | bool | None] = {
        "model": info.sd_model_name or info.sd_model_hash,
        "sampler": info.sampler_name,
        "scheduler": schedule if isinstance(schedule, str) else None,
        "steps": info.steps,
        "guidance_scale": info.cfg_scale,
        "strength": info.denoising_strength,
    }
    return {name: value for name, value in found.items() if value is not None}
