"""A request for pictures as the process that draws takes it; what a model can't do is refused."""

import secrets
from typing import Final

from penstock.core.errors import ConfigError, InvalidRequestError, UnsupportedParameterError
from penstock.core.request import ImageAsk, Request, prompt
from penstock.engines._diffusers_config import Config
from penstock.engines._diffusers_messages import Draw, Facts
from penstock.engines._diffusers_samplers import find
from penstock.engines._diffusers_sizes import sizes

ALWAYS: Final = frozenset({"size", "steps", "seed", "file_format", "compression"})
EVERYTHING: Final = ALWAYS | {
    "negative_prompt",
    "guidance_scale",
    "sampler",
    "strength",
    "inputs",
    "mask",
}
_LARGEST_SEED: Final = 2**53 - 1
"""Beyond it, numbers in JSON are not exact for every client."""
_SEEDS: Final = 2**32
_QUALITY: Final = 90
_BEST: Final = 100


def supports(facts: Facts) -> frozenset[str]:
    """The names of what a model can honour."""
    found = ALWAYS | facts.takes
    if {"image", "inpaint"} & set(facts.tasks):
        found |= {"inputs"}
    return found | {"mask"} if "inpaint" in facts.tasks else found


def check_settings(config: Config, facts: Facts) -> None:
    """Raises `ConfigError` for a setting that this model can't have."""
    if config.sampler is not None and find(config.sampler, facts.samplers) is None:
        raise ConfigError(
            f"{config.sampler!r} is not one of those of this model: {', '.join(facts.samplers)}",
            param="sampler",
        )


def draw(request: Request, facts: Facts, config: Config, job: int) -> Draw:
    """Without the inputs, which are in the album. Raises `InvalidRequestError` by name."""
    asked = request.image or ImageAsk()
    task = _task(asked, facts)
    _check_takes(asked, facts)
    file_format, quality = _format(asked)
    size = _size(asked, request, facts, config)
    steps = asked.steps or config.steps or facts.steps[task]
    if asked.strength is not None and int(asked.strength * steps) < 1:
        raise InvalidRequestError(
            f"strength: {asked.strength:g} of {steps} steps is less than one step", param="strength"
        )
    guidance = asked.guidance_scale if asked.guidance_scale is not None else config.guidance_scale
    return Draw(
        job=job,
        model=request.model,
        prompt=prompt(request),
        negative=asked.negative_prompt,
        width=size[0],
        height=size[1],
        max_pixels=config.max_pixels or 0,
        count=asked.count,
        steps=steps,
        guidance=guidance if "guidance_scale" in facts.takes else None,
        sampler=_sampler(asked.sampler or config.sampler, facts),
        strength=asked.strength,
        seed=_seed(request.sampling.seed),
        mask_by=asked.mask_by,
        file_format=file_format,
        quality=quality,
        previews=asked.previews,
        preview_every=config.preview_every,
        preview_seconds=config.preview_seconds,
    )


def _task(asked: ImageAsk, facts: Facts) -> str:
    if len(asked.inputs) > 1:
        raise InvalidRequestError("image: this model starts from one picture", param="image")
    if asked.mask is not None and "inpaint" not in facts.tasks:
        raise UnsupportedParameterError("this model takes no mask", param="mask")
    if asked.mask is not None:
        return "inpaint"
    if asked.inputs and "image" not in facts.tasks:
        if "inpaint" in facts.tasks:
            raise InvalidRequestError("mask: this model needs one", param="mask")
        raise UnsupportedParameterError("this model takes no input picture", param="image")
    if not asked.inputs and "text" not in facts.tasks:
        raise InvalidRequestError(
            "image: this model only draws into a picture, and needs one", param="image"
        )
    return "image" if asked.inputs else "text"


def _check_takes(asked: ImageAsk, facts: Facts) -> None:
    for name in ("negative_prompt", "guidance_scale", "sampler", "strength"):
        if getattr(asked, name) is not None and name not in facts.takes:
            raise UnsupportedParameterError(f"this model takes no {name}", param=name)


def _format(asked: ImageAsk) -> tuple[str, int]:
    kind = asked.file_format or "png"
    if asked.compression is None:
        return kind, _QUALITY
    if kind == "png" and asked.compression != _BEST:
        raise InvalidRequestError(
            "output_compression: a PNG loses nothing; ask for jpeg or webp",
            param="output_compression",
        )
    return kind, max(1, asked.compression)


def _size(asked: ImageAsk, request: Request, facts: Facts, config: Config) -> tuple[int, int]:
    if asked.size is None:
        return 0, 0
    known = sizes((facts.width, facts.height), facts.multiple, config.max_pixels)
    if known.fits(asked.size):
        return asked.size
    if request.freeform:
        return known.nearest(asked.size, facts.width * facts.height)
    width, height = asked.size
    raise InvalidRequestError(
        f"size: this model does not make {width}x{height}: {known.said()}", param="size"
    )


def _sampler(asked: str | None, facts: Facts) -> str | None:
    if asked is None:
        return None
    found = find(asked, facts.samplers)
    if found is None:
        known = ", ".join(facts.samplers)
        raise InvalidRequestError(
            f"sampler: {asked[:80]!r} is not one of those of this model: {known}", param="sampler"
        )
    return found.name


def _seed(asked: int | None) -> int:
    """A1111's -1 is any."""
    if asked is None or asked == -1:
        return secrets.randbelow(_SEEDS)
    if not 0 <= asked <= _LARGEST_SEED:
        raise InvalidRequestError(
            f"seed must be from 0 to {_LARGEST_SEED}, or -1 for any", param="seed"
        )
    return asked
