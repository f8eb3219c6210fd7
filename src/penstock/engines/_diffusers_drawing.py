"""One run on a loaded pipeline: its pictures one after the other, each with a seed of its own."""

import time
from collections.abc import Callable, Mapping
from math import ceil
from typing import Final, cast

import torch
from PIL import Image
from torch import Tensor

from penstock.engines import _diffusers_pictures, _diffusers_previews
from penstock.engines._diffusers_messages import Draw, Drawn, Report, Step, Withheld
from penstock.engines._diffusers_pipes import Loaded, Pipe, parameters
from penstock.engines._diffusers_samplers import find
from penstock.engines._diffusers_sizes import sizes

Say = Callable[[Report], None]
Settings = dict[str, str | int | float | bool]

_STEPS_CALLED: Final = "callback_on_step_end"


class StoppedError(Exception):
    """Raised between two steps of a run that is no longer wanted."""


class Drawing:
    """One `Draw`. `stopped` is asked after every step."""

    def __init__(self, loaded: Loaded, ask: Draw, say: Say, stopped: Callable[[], bool]) -> None:
        self._loaded = loaded
        self._ask = ask
        self._say = say
        self._stopped = stopped
        self._task = "inpaint" if ask.mask else "image" if ask.picture else "text"
        sampler = find(ask.sampler, loaded.facts.samplers) if ask.sampler else None
        self._pipe = loaded.pipe(self._task, sampler)
        self._sampler = sampler
        self._takes = parameters(self._pipe)
        self._size = (0, 0)
        self._picture: Image.Image | None = None
        self._mask: Image.Image | None = None
        self._done = 0
        self._of = 0
        self._shown = False
        self._shown_at = 0.0

    def run(self) -> None:
        """Says what happens. Raises `StoppedError`, and whatever a pipeline raises."""
        self._check()
        self._look_at_inputs()
        for part in range(self._ask.count):
            if part:
                self._pipe = self._loaded.pipe(self._task, self._sampler)
            self._done = part * self._of
            self._shown, self._shown_at = False, time.monotonic()
            image = self._one(self._ask.seed + part)
            self._finish(part, image)

    def _check(self) -> None:
        if self._stopped():
            raise StoppedError

    def _look_at_inputs(self) -> None:
        ask, facts = self._ask, self._loaded.facts
        own = (facts.width, facts.height)
        self._size = (ask.width, ask.height) if ask.width else own
        if not ask.picture:
            return
        picture = _diffusers_pictures.opened(ask.picture)
        if not ask.width:
            self._size = sizes(own, facts.multiple, ask.max_pixels or None).nearest(picture.size)
        if picture.size != self._size:
            picture = picture.resize(self._size, Image.Resampling.LANCZOS)
        self._picture = picture
        if ask.mask:
            self._mask = _diffusers_pictures.masked(ask.mask, ask.mask_by, self._size)

    # ── one picture ──────────────────────────────────────────────────────────────────────────────

    def _one(self, seed: int) -> Image.Image | None:
        """A picture, or `None` for one that the safety checker took back."""
        # On the CPU, so that a seed means the same picture wherever the model is.
        generator = torch.Generator("cpu").manual_seed(seed)
        arguments = {**self._arguments(), "generator": generator}
        if _STEPS_CALLED in self._takes:
            arguments[_STEPS_CALLED] = self._on_step
        else:
            self._watch_scheduler()
        try:
            found = cast("Callable[..., object]", self._pipe)(**arguments)
        finally:
            # A run that was stopped or broke would leave on the GPU what offloading put there.
            self._pipe.maybe_free_model_hooks()
        if any(getattr(found, "nsfw_content_detected", None) or ()):
            return None
        image = cast("list[Image.Image]", getattr(found, "images"))[0]  # noqa: B009
        if self._mask is not None and self._picture is not None:
            # The autoencoder changes every pixel a little; outside of the mask none may change.
            image = Image.composite(image.resize(self._size), self._picture, self._mask)
        return image

    def _arguments(self) -> dict[str, object]:
        ask = self._ask
        wanted: dict[str, object] = {
            "prompt": ask.prompt,
            "num_inference_steps": ask.steps,
            "negative_prompt": ask.negative,
            "guidance_scale": ask.guidance,
            "strength": ask.strength,
            "width": self._size[0],
            "height": self._size[1],
            "image": self._picture,
            "mask_image": self._mask,
        }
        return {k: v for k, v in wanted.items() if v is not None and k in self._takes}

    def _finish(self, part: int, image: Image.Image | None) -> None:
        ask = self._ask
        if image is None:
            self._say(Withheld(job=ask.job, part=part))
            return
        made_with = self._made_with()
        told: Settings = {"prompt": ask.prompt, "seed": ask.seed + part, **made_with}
        told["model"] = ask.model
        if ask.negative is not None:
            told["negative_prompt"] = ask.negative
        data = _diffusers_pictures.encoded(image, ask.file_format, ask.quality, told)
        self._say(
            Drawn(
                job=ask.job,
                part=part,
                data=data,
                width=image.width,
                height=image.height,
                seed=ask.seed + part,
                made_with=made_with,
            )
        )

    def _made_with(self) -> Settings:
        scheduler = self._pipe.scheduler if "sampler" in self._loaded.facts.takes else None
        sampler = self._sampler.name if self._sampler else type(scheduler).__name__
        found: Settings = {"steps": self._ask.steps}
        if scheduler is not None:
            found["sampler"] = sampler
        for name, said in (
            ("guidance_scale", self._ask.guidance),
            ("strength", self._ask.strength),
        ):
            value = said if said is not None else self._default(name)
            if isinstance(value, int | float):
                found[name] = float(value)
        return found

    def _default(self, name: str) -> object:
        found = self._takes.get(name)
        return found.default if found is not None else None

    # ── between steps ────────────────────────────────────────────────────────────────────────────

    def _on_step(
        self, pipe: Pipe, step: int, timestep: object, tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        _ = timestep
        self._step(pipe, step, tensors.get("latents"))
        return {}

    def _watch_scheduler(self) -> None:
        """For pipelines that call nobody after a step."""
        inner = self._pipe.scheduler.step
        count = 0

        def step(*args: object, **kwargs: object) -> object:
            nonlocal count
            found = inner(*args, **kwargs)
            latents = found[0] if isinstance(found, tuple) else getattr(found, "prev_sample", None)
            self._step(self._pipe, count, latents)
            count += 1
            return found

        setattr(self._pipe.scheduler, "step", step)  # noqa: B010

    def _step(self, pipe: Pipe, step: int, latents: Tensor | None) -> None:
        self._check()
        of = getattr(pipe, "num_timesteps", None) or self._ask.steps
        self._of = of
        shown = b""
        if latents is not None and self._is_shown(step + 1, of):
            shown = self._preview(pipe, latents)
        at, total = self._done + step + 1, of * self._ask.count
        self._say(Step(job=self._ask.job, at=at, of=total, preview=shown))

    def _is_shown(self, at: int, of: int) -> bool:
        """Of the last step there is no preview: the picture itself comes next.

        A picture that is too quick for `preview_seconds` has one, from half of its way on.
        """
        wanted, every = self._ask.previews, self._ask.preview_every
        if at >= of:
            return False
        if wanted is not None:
            return any(at == ceil(k * of / (wanted + 1)) for k in range(1, wanted + 1))
        if not every or at % every:
            return False
        now = time.monotonic()
        if now - self._shown_at < self._ask.preview_seconds and (self._shown or at < of / 2):
            return False
        self._shown, self._shown_at = True, now
        return True

    def _preview(self, pipe: Pipe, latents: Tensor) -> bytes:
        previews = self._loaded.previews
        if previews is None:
            return b""
        first = _diffusers_previews.unpacked(latents, pipe, self._size)
        return b"" if first is None else previews.jpeg(first, self._size)
