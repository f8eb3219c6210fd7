"""A loaded pipeline: which class draws what, what it takes, and the samplers that fit it."""

import gc
import inspect
from collections.abc import Mapping
from math import lcm
from pathlib import Path
from typing import Final, Protocol, cast

import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
    DiffusionPipeline,
)
from diffusers.utils import logging as diffusers_logging

from penstock.engines._diffusers_messages import Facts, Open
from penstock.engines._diffusers_previews import Previews, fitted
from penstock.engines._diffusers_samplers import Sampler, fitting

_TASKS: Final = {
    "text": AutoPipelineForText2Image,
    "image": AutoPipelineForImage2Image,
    "inpaint": AutoPipelineForInpainting,
}
_DTYPES: Final = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
_INPAINTING_CHANNELS: Final = 9
"""Of a U-Net that was made for inpainting: it draws nothing without a picture and a mask."""
_USUAL_STEPS: Final = 50
_USUAL_SIDE: Final = 1024


class Scheduler(Protocol):
    """What is used of a scheduler of diffusers."""

    config: object

    @classmethod
    def from_config(cls, config: object, **options: object) -> "Scheduler":
        """One of this class, by the configuration of another."""

    def step(self, *args: object, **kwargs: object) -> object:
        """Latents with a little less noise, first in a tuple or as `prev_sample`."""


class Pipe(Protocol):
    """What is used of a pipeline of diffusers, besides calling it."""

    components: Mapping[str, object]
    scheduler: Scheduler

    def maybe_free_model_hooks(self) -> None:
        """Puts back what offloading had moved."""

    def set_progress_bar_config(self, *, disable: bool) -> None:
        """Whether it draws bars on the standard error."""


class Loaded:
    """One pipeline in memory, with a class for each task over the same components."""

    def __init__(self, pipes: dict[str, Pipe], facts: Facts, previews: Previews | None) -> None:
        self.facts = facts
        self.previews = previews
        self._pipes = pipes
        base = next(iter(pipes.values()))
        self._scheduler = _scheduler_of(base)

    def pipe(self, task: str, sampler: Sampler | None) -> Pipe:
        """The one for a task, with a scheduler that has no past."""
        pipe = self._pipes[task]
        if self._scheduler is not None:
            wanted = sampler or Sampler("", type(self._scheduler).__name__)
            kind = _kinds(self._scheduler)[wanted.kind]
            pipe.scheduler = kind.from_config(self._scheduler.config, **wanted.options)
        return pipe

    def free(self) -> None:
        """Lets go of everything."""
        self._pipes.clear()
        self._scheduler = None
        collect()


def collect() -> None:
    """Gives memory back that nobody uses."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def load(ask: Open) -> Loaded:
    """Blocks for seconds or minutes. Raises whatever diffusers does."""
    if ask.threads is not None:
        torch.set_num_threads(ask.threads)
    diffusers_logging.disable_progress_bar()
    device = ask.device if ask.device != "auto" else _best_device()
    usual = "float32" if device == "cpu" else "float16"
    dtype = ask.dtype if ask.dtype != "auto" else usual
    base = DiffusionPipeline.from_pretrained(
        ask.source,
        dtype=_DTYPES[dtype],
        variant=ask.variant,
        local_files_only=Path(ask.source).is_dir() or not ask.download,
    )
    scale = getattr(base, "vae_scale_factor", 8)
    vae = base.components.get("vae", base.components.get("vqvae"))
    previews = fitted(vae, scale)
    pipes = _pipes(base)
    for pipe in pipes.values():
        pipe.set_progress_bar_config(disable=True)
    _place(base, pipes, device, ask.offload)
    return Loaded(pipes, _facts(base, pipes, device, dtype), previews)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _place(base: Pipe, pipes: Mapping[str, Pipe], device: str, offload: str) -> None:
    if device == "cpu" or offload == "none":
        cast("torch.nn.Module", base).to(device)
        return
    for pipe in {id(pipe): pipe for pipe in pipes.values()}.values():
        kind = "enable_model_cpu_offload" if offload == "model" else "enable_sequential_cpu_offload"
        getattr(pipe, kind)(device=device)


def _pipes(base: Pipe) -> dict[str, Pipe]:
    kinds = {task: _kind_for(task, base) for task in _TASKS}
    if not any(kinds.values()):
        kinds["text"] = type(base)
    unet = base.components.get("unet")
    if getattr(getattr(unet, "config", None), "in_channels", 0) == _INPAINTING_CHANNELS:
        kinds = {"inpaint": kinds["inpaint"]}
    found: dict[str, Pipe] = {}
    for task, kind in kinds.items():
        if kind is not None:
            found[task] = base if kind is type(base) else _TASKS[task].from_pipe(base)
    return found


def _kind_for(task: str, base: Pipe) -> type | None:
    """The class for a task, or `None` where diffusers knows none of this family."""
    try:
        return type(_TASKS[task].from_pipe(base))
    except ValueError:
        return None


# ── what is known of it ──────────────────────────────────────────────────────────────────────────


def parameters(pipe: Pipe) -> Mapping[str, inspect.Parameter]:
    """What calling it takes."""
    return inspect.signature(type(pipe).__call__).parameters


def _facts(base: Pipe, pipes: Mapping[str, Pipe], device: str, dtype: str) -> Facts:
    scale = getattr(base, "vae_scale_factor", 8)
    # U-Nets are cut in halves by diffusers' own rule; transformers in patches of two.
    multiple = lcm(8 if "unet" in base.components else 16, scale)
    width, height = _own_size(base, scale)
    scheduler = _scheduler_of(base)
    takes = {name for name in ("negative_prompt", "guidance_scale") if _all_take(pipes, name)}
    if scheduler is not None:
        takes.add("sampler")
    started = {task: pipe for task, pipe in pipes.items() if task != "text"}
    if started and _all_take(started, "strength"):
        takes.add("strength")
    return Facts(
        kind=type(base).__name__,
        tasks=tuple(pipes),
        takes=frozenset(takes),
        multiple=multiple,
        width=max(multiple, width // multiple * multiple),
        height=max(multiple, height // multiple * multiple),
        samplers=fitting(_kinds(scheduler)) if scheduler is not None else (),
        steps={task: _number(pipe, "num_inference_steps") for task, pipe in pipes.items()},
        device=device,
        dtype=dtype,
    )


def _all_take(pipes: Mapping[str, Pipe], name: str) -> bool:
    return all(name in parameters(pipe) for pipe in pipes.values())


def _number(pipe: Pipe, name: str) -> int:
    found = parameters(pipe).get(name)
    return found.default if found and isinstance(found.default, int) else _USUAL_STEPS


def _own_size(base: Pipe, scale: int) -> tuple[int, int]:
    found = getattr(base, "default_sample_size", None)
    for name in ("unet", "transformer", "prior"):
        config = getattr(base.components.get(name), "config", None)
        found = found or getattr(config, "sample_size", None)
    if isinstance(found, list | tuple):
        return found[-1] * scale, found[-2] * scale
    return (found * scale, found * scale) if isinstance(found, int) else (_USUAL_SIDE, _USUAL_SIDE)


def _scheduler_of(pipe: Pipe) -> Scheduler | None:
    return cast("Scheduler | None", pipe.components.get("scheduler"))


def _kinds(scheduler: Scheduler) -> dict[str, type[Scheduler]]:
    kinds = [type(scheduler), *getattr(scheduler, "compatibles", ())]
    # A class whose own libraries are missing is there too, as something that raises.
    return {kind.__name__: kind for kind in kinds if not hasattr(kind, "_backends")}
