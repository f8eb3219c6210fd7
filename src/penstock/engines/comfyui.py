"""A ComfyUI server: pictures by workflows, over its HTTP routes and its WebSocket."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta

from penstock.config import paths
from penstock.core.cards import ModelCard
from penstock.core.errors import (
    EngineProtocolError,
    InvalidRequestError,
    ModalityError,
    UnknownModelError,
)
from penstock.core.events import Done, Event, Image, Timings, Usage
from penstock.core.messages import ImagePart
from penstock.core.ports import Album, Timeouts
from penstock.core.request import ImageAsk, Modality, Request
from penstock.core.secrets import Secret
from penstock.engines._comfy_run import Run
from penstock.engines._comfy_server import Server
from penstock.engines._comfy_workflow import SHIPPED, Value, Workflow, asked

_SEEDS: Final = 2**53
_ENDINGS: Final = {"image/jpeg": "jpg", "image/webp": "webp"}
_NAMES: Final = 'Names to inputs of it, such as `prompt = "6.inputs.text"`.'


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[bindings.NAME]` with `engine = "comfyui"`."""

    url: Annotated[str, Meta(description="Address of the ComfyUI server.")] = (
        "http://127.0.0.1:8188"
    )
    key: Annotated[
        Secret | None,
        Meta(description='Key of a proxy before it: text, or `{ env = "NAME" }`.'),
    ] = None
    headers: Annotated[
        dict[str, Secret], Meta(description="Further headers of every request; never shown.")
    ] = {}
    verify_tls: Annotated[bool, Meta(description="Check the server's certificate.")] = True
    model: Annotated[
        str | None,
        Meta(description="Its checkpoint that answers when a request names none; else the first."),
    ] = None
    workflow: Annotated[
        str | None,
        Meta(
            description="Workflow of text to image: a file in API format. Default: a shipped one."
        ),
    ] = None
    inputs: Annotated[dict[str, str], Meta(description=_NAMES)] = {}
    edit_workflow: Annotated[
        str | None, Meta(description="The same for requests with a picture.")
    ] = None
    edit_inputs: Annotated[dict[str, str], Meta(description=_NAMES)] = {}
    inpaint_workflow: Annotated[
        str | None, Meta(description="The same for requests with a picture and a mask.")
    ] = None
    inpaint_inputs: Annotated[dict[str, str], Meta(description=_NAMES)] = {}


class Engine:
    """One ComfyUI server."""

    description: ClassVar[str] = "A ComfyUI server"
    outputs: ClassVar[tuple[Modality, ...]] = ("image",)

    def __init__(self, config: Config, timeouts: Timeouts) -> None:
        self._config = config
        self._server = Server(
            config.url,
            timeouts,
            key=config.key,
            headers=config.headers,
            verify_tls=config.verify_tls,
        )
        self._text = _workflow("workflow", config.workflow, config.inputs)
        self._edit = _workflow("edit_workflow", config.edit_workflow, config.edit_inputs)
        self._inpaint = _workflow(
            "inpaint_workflow", config.inpaint_workflow, config.inpaint_inputs
        )
        self._loaded = False
        self._models: Sequence[str] = ()

    @property
    def supports(self) -> frozenset[str]:
        """What has a place in one of the workflows; for each request that of its own decides."""
        return self._text.supports | self._edit.supports | self._inpaint.supports | {"mask"}

    async def start(self) -> None:
        """Reads the workflows and asks for the server. Raises `ConfigError`, `BindingDownError`."""
        self._load()
        await self._server.check()
        await self.models()

    def _load(self) -> None:
        if not self._loaded:
            for workflow in (self._text, self._edit, self._inpaint):
                workflow.load()
            self._loaded = True

    async def models(self) -> Sequence[ModelCard]:
        """The checkpoints that the workflow's loader may load; else the workflow itself."""
        self._load()
        place = self._text.places.get("model")
        if place is not None:
            kind = self._text.kind("model")
            self._models = await self._server.choices(kind, place.field) or ()
        names = list(self._models) or [self._config.model or self._text.file.stem]
        if self._config.model in names:
            names.sort(key=lambda name: name != self._config.model)
        return [
            ModelCard(name=name, inputs=("text", "image"), outputs=("image",)) for name in names
        ]

    async def stream(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        """It only makes pictures. Raises `ModalityError`."""
        raise ModalityError("ComfyUI makes pictures, no text")
        yield ()

    async def paint(self, request: Request, album: Album) -> AsyncGenerator[Sequence[Event], None]:
        """Runs `request`; see `core.ports.Painter`. Several pictures are several runs, one after
        the other: each has a seed of its own, which draws it again.
        """
        self._load()
        image = request.image or ImageAsk()
        workflow = self._chosen(image)
        values = asked(request, workflow)
        await self._check(workflow, values)
        values |= await self._uploaded(image, album)
        seed = request.sampling.seed
        first = secrets.randbelow(_SEEDS) if seed is None else seed
        nanoseconds = made = 0
        for n in range(image.count):
            values["seed"] = first + n
            run = Run(self._server, workflow, album)
            events = run.events(workflow.filled(values), image.previews)
            async with aclosing(events) as batches:
                async for batch in batches:
                    yield batch
            nanoseconds += run.past.nanoseconds if run.past else 0
            pictures = await self._pictures(run, workflow, values, (album, made))
            made += len(pictures)
            yield pictures
        timings = Timings(generation=nanoseconds) if nanoseconds else None
        yield [
            Usage(input_tokens=0, output_tokens=0, images=made, timings=timings),
            Done(reason="stop"),
        ]

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._server.aclose()

    def _chosen(self, image: ImageAsk) -> Workflow:
        if len(image.inputs) > 1:
            raise InvalidRequestError("this binding takes one picture", param="image")
        if image.mask is not None:
            return self._inpaint
        return self._edit if image.inputs else self._text

    async def _check(self, workflow: Workflow, values: dict[str, Value]) -> None:
        """Sampler and model by name, before anything is queued. A place that the shipped workflow
        leaves empty gets the usual model.
        """
        if "model" in workflow.places and not values.get("model"):
            usual = self._config.model or (None if workflow.value("model") else self._first())
            if usual is not None:
                values["model"] = usual
        for name in ("sampler", "model"):
            place, value = workflow.places.get(name), values.get(name)
            if place is None or value is None:
                values.pop(name, None)
                continue
            known = await self._server.choices(workflow.kind(name), place.field)
            if known is None or value in known:
                continue
            shown = ", ".join(known[:40])
            if name == "model":
                raise UnknownModelError(f"ComfyUI has no checkpoint {value!r}", param="model")
            raise InvalidRequestError(f"no sampler {value!r}; there are {shown}", param=name)

    def _first(self) -> str:
        if not self._models:
            raise UnknownModelError("the ComfyUI server has no checkpoint", param="model")
        return self._models[0]

    async def _uploaded(self, image: ImageAsk, album: Album) -> dict[str, Value]:
        found: dict[str, Value] = {}
        if image.inputs:
            found["image"] = await self._upload(image.inputs[0], album)
        if image.mask is not None:
            found["mask"] = await self._upload(image.mask, album)
            # `LoadImageMask` gives 1 where alpha is 0, and the plain value of a colour.
            found["mask_channel"] = "alpha" if image.mask_by == "alpha" else "red"
        return found

    async def _upload(self, part: ImagePart, album: Album) -> str:
        if part.blob is None:
            raise InvalidRequestError("a picture was not taken in", param="image")
        data = await album.get(part.blob)
        media_type = part.blob.media_type
        name = f"{part.blob.sha256[:32]}.{_ENDINGS.get(media_type, 'png')}"
        return await self._server.upload(data, name, media_type)

    async def _pictures(
        self, run: Run, workflow: Workflow, values: dict[str, Value], to: tuple[Album, int]
    ) -> list[Event]:
        album, first = to
        found: list[Event] = []
        seed = values["seed"] if "seed" in workflow.places else None
        for n, file in enumerate(run.past.files if run.past else ()):
            data, media_type = await run.picture(file)
            blob = await album.keep(data, media_type)
            width, height = _size(data)
            found.append(
                Image(
                    part=first + n,
                    blob=blob,
                    width=width,
                    height=height,
                    seed=int(seed) if seed is not None else None,
                    made_with=dict(workflow.used(values)),
                )
            )
        if not found:
            raise EngineProtocolError("the workflow saved no picture; it needs a SaveImage node")
        return found


def _size(data: bytes) -> tuple[int, int]:
    """What a PNG's `IHDR` says; 0 of any other file: nearly all workflows save PNGs."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return 0, 0
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _workflow(setting: str, file: str | None, names: dict[str, str]) -> Workflow:
    """A named file with its names, or the shipped one."""
    if file is None:
        return Workflow(setting, *SHIPPED[setting])
    return Workflow(setting, paths.place(file), names)
