"""The settings of the `diffusers` engine."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[bindings.NAME]` with `engine = "diffusers"`."""

    path: Annotated[
        str | None,
        Meta(
            description="A pipeline's folder (with a `model_index.json`), a folder of such "
            "folders, or a hub id such as `org/name`. Default: the demo model."
        ),
    ] = None
    model: Annotated[
        str | None,
        Meta(
            description="The model that answers when a request names none: a folder's name. "
            "Default: the first by name."
        ),
    ] = None
    allow_download: Annotated[
        bool, Meta(description="Whether a hub id may be downloaded; else it must be in the cache.")
    ] = False
    variant: Annotated[
        str | None, Meta(description="Which files of the weights, such as `fp16`.")
    ] = None
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"],
        Meta(description="What computes. `auto`: CUDA where there is one, else MPS, else the CPU."),
    ] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "float16", "bfloat16"],
        Meta(description="Numbers that it computes with. `auto`: float32 on a CPU, else float16."),
    ] = "auto"
    offload: Annotated[
        Literal["none", "model", "sequential"],
        Meta(
            description="Keeps in main memory what a GPU doesn't need at the moment: whole models, "
            "or single layers (least memory, slowest)."
        ),
    ] = "none"
    threads: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Threads that compute on a CPU. Default: as torch chooses; one "
            "for models under 100 MB."
        ),
    ] = None
    max_queue: Annotated[
        int, Meta(ge=0, description="Runs that may wait for their turn; more get 429.")
    ] = 64
    max_pixels: Annotated[
        Annotated[int, Meta(ge=64)] | None,
        Meta(
            description="Width times height of the largest picture. Default: four times the "
            "model's own; `[images] max_pixels` holds too."
        ),
    ] = None
    steps: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Steps where a request names none. Default: the pipeline's own; 25 "
            "of the demo model."
        ),
    ] = None
    guidance_scale: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(
            description="Guidance where a request names none. Default: the pipeline's own; "
            "3 of the demo model."
        ),
    ] = None
    sampler: Annotated[
        str | None,
        Meta(description="Sampler where a request names none. Default: the pipeline's own."),
    ] = None
    preview_every: Annotated[
        int,
        Meta(ge=0, description="Steps from one preview to the next; 0: no previews."),
    ] = 1
    preview_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="Least time from one preview to the next. Where a request names their "
            "number, that holds instead.",
        ),
    ] = 0.25
    load: Annotated[
        Literal["start", "first_use"],
        Meta(description="When the default model is loaded. The others are on first use."),
    ] = "start"
