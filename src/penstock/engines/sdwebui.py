"""Stable Diffusion web UIs with Automatic1111's API: Automatic1111 itself, Forge, SD.Next."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import ExitStack, aclosing
from time import monotonic
from typing import Annotated, ClassVar, Final, TypeVar

import msgspec
from msgspec import Meta

from penstock.core.cards import ModelCard
from penstock.core.errors import (
    BindingDownError,
    ConfigError,
    EngineError,
    EngineProtocolError,
    EngineTimeoutError,
    GatewayError,
    InvalidRequestError,
    ModalityError,
)
from penstock.core.events import Done, Event, Image, Progress, Usage
from penstock.core.ports import Album, Timeouts
from penstock.core.request import ImageAsk, Modality, Request, prompt
from penstock.core.secrets import Secret
from penstock.engines import _image_files
from penstock.engines import _sdwebui_wire as _wire
from penstock.engines._beside import beside
from penstock.engines._http import Upstream
from penstock.engines._sdwebui_watch import Server, Sign, Watch
from penstock.engines._slots import Slots
from penstock.wire import json

Item = TypeVar("Item", bound=msgspec.Struct)

SUPPORTS: Final = frozenset(
    {
        "size",
        "negative_prompt",
        "steps",
        "guidance_scale",
        "sampler",
        "seed",
        "strength",
        "inputs",
        "mask",
    }
)
_FACTS_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 3.0
"""A look at the progress may take this long; the answer itself may have come meanwhile."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[bindings.NAME]` with `engine = "sdwebui"`."""

    url: Annotated[str, Meta(description="Address of the server, which must run with `--api`.")] = (
        "http://127.0.0.1:7860"
    )
    user: Annotated[
        str | None, Meta(description="User name, where the server runs with `--api-auth`.")
    ] = None
    password: Annotated[
        Secret | None, Meta(description='Its password: text, or `{ env = "NAME" }`.')
    ] = None
    model: Annotated[
        str | None,
        Meta(
            description="Checkpoint that answers when a request names none; by default the one "
            "that the server has loaded."
        ),
    ] = None
    headers: Annotated[
        dict[str, Secret], Meta(description="Further headers of every request; never shown.")
    ] = {}
    previews: Annotated[
        bool, Meta(description="Show pictures of the work in progress, where the server has them.")
    ] = True
    poll_seconds: Annotated[
        float, Meta(ge=0.05, le=10, description="How often the progress is looked at.")
    ] = 0.5
    max_queue: Annotated[
        int, Meta(ge=0, description="Most runs that wait, one behind the other, for the server.")
    ] = 32
    verify_tls: Annotated[bool, Meta(description="Check the server's certificate.")] = True


class Engine:
    """One web UI server, which draws one thing at a time."""

    description: ClassVar[str] = "Stable Diffusion web UIs: Automatic1111, Forge, SD.Next"
    outputs: ClassVar[tuple[Modality, ...]] = ("image",)
    supports: ClassVar[frozenset[str]] = SUPPORTS

    def __init__(self, config: Config, timeouts: Timeouts) -> None:
        self._config = config
        self._timeouts = timeouts
        url = config.url.rstrip("/").removesuffix("/sdapi/v1")
        headers, verify = _headers(config), config.verify_tls
        self._upstream = Upstream(url, timeouts, headers=headers, verify_tls=verify)
        # Its connections are never used again: what is lost on one that was is sent again, and
        # the same thing would be drawn twice.
        self._drawing = Upstream(url, timeouts, headers=headers, verify_tls=verify)
        self._server = Server(self._upstream)
        self._slots = Slots(1, config.max_queue, lambda: None)
        self._facts: tuple[float, _wire.Facts] | None = None

    async def start(self) -> None:
        """Asks what the server has, within `connect` seconds a question."""
        await self._known()

    async def stream(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        """Nothing: raises `ModalityError`."""
        raise ModalityError("this binding makes pictures and says nothing")
        yield ()

    async def paint(self, request: Request, album: Album) -> AsyncIterator[Sequence[Event]]:
        """Runs `request`; see `core.ports.Painter`. Ending it early interrupts the server."""
        route, body = await self._body(request, album)
        with ExitStack() as held:
            ticket = self._slots.enter()
            held.callback(ticket.leave)
            while (place := ticket.place) > 0:
                yield [Progress(what="queued", at=place, of=self._slots.waiting)]
                await ticket.moved(place)
            async with aclosing(self._job(route, body, album, prompt(request))) as batches:
                async for batch in batches:
                    yield batch

    async def models(self) -> Sequence[ModelCard]:
        """Its checkpoints, the loaded one first, asked anew after half a minute.

        Raises `BindingDownError`.
        """
        facts = await self._known()
        current = facts.current
        ordered = sorted(facts.models, key=lambda m: current not in (m.title, m.model_name))
        return tuple(
            ModelCard(name=model.model_name, inputs=("text", "image"), outputs=("image",))
            for model in ordered
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._upstream.aclose()
        await self._drawing.aclose()

    # ── what is asked ────────────────────────────────────────────────────────────────────────────

    async def _known(self) -> _wire.Facts:
        if self._facts is not None and monotonic() < self._facts[0]:
            return self._facts[1]
        try:
            models = await self._list("sd-models", _wire.Model)
            samplers = await self._list("samplers", _wire.Sampler)
            schedulers = await self._list("schedulers", _wire.Scheduler)
            options = await self._upstream.get("sdapi/v1/options")
        except GatewayError as error:
            raise BindingDownError(error.message) from error
        if models is None:
            raise BindingDownError(
                f"{self._upstream.address} has no /sdapi/v1: does the server run with --api?"
            )
        told = json.decode(options or b"{}", _wire.Options, EngineProtocolError)
        facts = _wire.Facts(models, samplers, schedulers or (), told.sd_model_checkpoint)
        self._facts = (monotonic() + _FACTS_SECONDS, facts)
        return facts

    async def _list(self, name: str, kind: type[Item]) -> Sequence[Item] | None:
        data = await self._upstream.get(f"sdapi/v1/{name}")
        return None if data is None else _wire.listed(data, kind)

    async def _body(self, request: Request, album: Album) -> tuple[str, dict[str, _wire.Value]]:
        """The route and the body. Raises `InvalidRequestError` before anything is queued."""
        asked = request.image or ImageAsk()
        model = request.model or self._config.model or ""
        facts = await self._known()
        if len(asked.inputs) > 1:
            raise InvalidRequestError("image: this server starts from one picture", param="image")
        if not asked.inputs:
            return "txt2img", _wire.body(request, asked, facts, model, None)
        blob = asked.inputs[0].blob
        if blob is None:
            raise EngineProtocolError("an input picture was not kept")
        picture = await _image_files.received(await album.get(blob))
        body = _wire.body(request, asked, facts, model, (picture.width, picture.height))
        mask = None
        if asked.mask is not None and asked.mask.blob is not None:
            kept = await album.get(asked.mask.blob)
            mask = _image_files.text(await _image_files.white_mask(kept, asked.mask_by))
        given = _image_files.text(picture.data)
        return "img2img", body | _wire.from_picture(given, mask, asked.strength)

    # ── what is done ─────────────────────────────────────────────────────────────────────────────

    async def _job(
        self, route: str, body: dict[str, _wire.Value], album: Album, asked: str
    ) -> AsyncGenerator[Sequence[Event]]:
        """One job at the server, which is ours alone among the runs of this engine."""
        watch = Watch(self._server, previews=self._config.previews)
        await watch.prepare()
        sent = json.encode(body | {"force_task_id": watch.task})
        over = interrupted = False
        try:
            async with beside(self._post(f"sdapi/v1/{route}", sent)) as work:
                async with aclosing(self._watched(work, watch)) as signs:
                    async for sign in signs:
                        interrupted = sign.interrupted
                        yield await _told(sign, album)
                found = work.result()
            # A refusal, an error: the server has let go of it. A lost connection: it has not.
            over = isinstance(found, bytes) or not _is_lost(found)
        finally:
            if not over:
                await watch.stop()
        if isinstance(found, GatewayError):
            raise found
        if await self._was_interrupted(watch) or interrupted:
            raise EngineError("the run was interrupted at the server")
        yield await _pictures(found, album, asked)

    async def _post(self, path: str, body: bytes) -> bytes | GatewayError:
        """Raises nothing, as `beside` wants it. It lasts as long as the drawing."""
        try:
            async with self._drawing.post(path, body, "application/json", waits=False) as reply:
                if "html" in reply.media_type:
                    return EngineProtocolError("the upstream answered with a web page")
                data = await reply.whole()
                reply.finished = False
                return data
        except GatewayError as error:
            return error

    async def _watched(
        self, work: asyncio.Task[bytes | GatewayError], watch: Watch
    ) -> AsyncGenerator[Sign]:
        """What changes until `work` is done. Raises `EngineTimeoutError` when nothing does."""
        last = Sign()
        due = monotonic() + self._timeouts.connect + self._timeouts.first_token
        while True:
            await asyncio.wait({work}, timeout=self._config.poll_seconds)
            if work.done():
                return
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    sign = await watch.look()
            except (GatewayError, TimeoutError):
                sign = last  # if the server is gone, its answer fails too
            if sign != last:
                due = monotonic() + self._timeouts.between_tokens
                last = sign
                yield sign
            elif monotonic() > due:
                raise EngineTimeoutError(f"{self._upstream.address} was silent for too long")

    async def _was_interrupted(self, watch: Watch) -> bool:
        """What the server still tells of the job that has ended."""
        interrupted = False
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                interrupted = await watch.was_interrupted()
                await watch.ended()
        except (GatewayError, TimeoutError):
            pass  # what was seen before counts; the next job asks again
        return interrupted


async def _told(sign: Sign, album: Album) -> list[Event]:
    if sign.queued:
        return [Progress(what="queued", text="the server is busy with somebody else's work")]
    if sign.preview is not None:
        picture = await _image_files.received(sign.preview)
        blob = await album.keep(picture.data, picture.media_type)
        return [Progress(what="step", at=sign.at, of=sign.of, preview=blob)]
    return [Progress(what="step", at=sign.at, of=sign.of)] if sign.at else []


async def _pictures(data: bytes, album: Album, asked: str) -> list[Event]:
    """The pictures of an answer. A sheet of all of them, which may come first, is none."""
    answer, info = _wire.answer(data)
    seeds = info.all_seeds or ([info.seed] if info.seed is not None else [])
    first = info.index_of_first_image
    images = (answer.images or [])[first : first + len(seeds) if seeds else None]
    prompts = info.all_prompts or []
    events: list[Event] = []
    for n, text in enumerate(images):
        picture = await _image_files.received(text)
        blob = await album.keep(picture.data, picture.media_type)
        drawn = prompts[n] if n < len(prompts) else asked
        events.append(
            Image(
                part=n,
                blob=blob,
                width=picture.width,
                height=picture.height,
                prompt=drawn if drawn != asked else None,
                seed=seeds[n] if n < len(seeds) else None,
                made_with=_wire.made_with(info),
            )
        )
    usage = Usage(input_tokens=0, output_tokens=0, images=len(images))
    return [*events, usage, Done(reason="stop")]


def _is_lost(error: GatewayError) -> bool:
    """Whether the connection failed, so that the server may still be drawing.

    Only what an exception of the connection's became has a cause; a status has none.
    """
    return error.__cause__ is not None


def _headers(config: Config) -> dict[str, Secret]:
    if config.user is None and config.password is None:
        return config.headers
    if config.user is None or config.password is None:
        missing = "user" if config.user is None else "password"
        raise ConfigError("user and password come together", param=missing)
    pair = f"{config.user}:{config.password.reveal()}".encode()
    return {"Authorization": Secret(f"Basic {b64encode(pair).decode()}"), **config.headers}
