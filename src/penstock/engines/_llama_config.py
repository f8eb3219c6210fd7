"""The settings of the `llamacpp` engine."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[bindings.NAME]` with `engine = "llamacpp"`."""

    path: Annotated[
        str | None,
        Meta(description="A GGUF file, or a folder of them. Default: the demo model."),
    ] = None
    models_folder: Annotated[
        str | None,
        Meta(
            description="A folder whose GGUF files are offered too, as they come and go. Set to "
            "the model store's."
        ),
    ] = None
    model: Annotated[
        str | None,
        Meta(
            description="The model that answers when a request names none: a file's name without "
            "`.gguf`. Default: the first by name."
        ),
    ] = None
    context: Annotated[
        Annotated[int, Meta(ge=64)] | None,
        Meta(
            description="Context of one conversation in tokens. Default: the model's own, 4096 "
            "at most. Memory is taken for `parallel` times as many.",
        ),
    ] = None
    parallel: Annotated[
        int, Meta(ge=1, le=256, description="Runs that decode at the same time; others wait.")
    ] = 4
    max_queue: Annotated[
        int, Meta(ge=0, description="Runs that may wait for a model; more get 429.")
    ] = 64
    threads: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Threads that compute. Default: as llama.cpp chooses; one for models "
            "under 100 MB.",
        ),
    ] = None
    gpu_layers: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="Layers to put on a GPU, where xllamacpp was built for one. Default: as "
            "many as fit.",
        ),
    ] = None
    prompt_cache_mib: Annotated[
        int,
        Meta(
            ge=0,
            description="Main memory, in MiB, for prompts of earlier turns, so that a conversation "
            "which comes back needn't be read anew.",
        ),
    ] = 256
    load: Annotated[
        Literal["start", "first_use"],
        Meta(description="When the default model is loaded. The others are on first use."),
    ] = "start"
    max_loaded: Annotated[
        int,
        Meta(
            ge=1,
            description="Models of a folder that stay loaded; the one unused for longest goes, "
            "once it is idle.",
        ),
    ] = 1
