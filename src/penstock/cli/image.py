"""`penstock image`: pictures of a prompt, watched while they are drawn, saved as files."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import click
import msgspec
from typing_extensions import override

from penstock.cli import _running, _saving, _screen
from penstock.cli._advice import explain, of_event
from penstock.cli._arguments import CONFIG, COUNT, OUTPUT, TEXT
from penstock.cli._drawing import Drawing
from penstock.cli._picturing import Ending, Human, Kept, Machine, Show
from penstock.cli._settings import Settings, settings
from penstock.cli._talking import partner, streams
from penstock.core.errors import EngineProtocolError, GatewayError, UnavailableError
from penstock.core.events import BEGINNING, Blob, Done, Event, Failed, Image, Progress, Start
from penstock.core.messages import say
from penstock.core.request import ImageAsk, Request, Sampling

_FORMATS: Final = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


class SizeType(click.ParamType[tuple[int, int]]):
    """`WIDTHxHEIGHT` in pixels."""

    name = "WIDTHxHEIGHT"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        found = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", str(value))
        if found is None:
            self.fail(f"{value!r} is not WIDTHxHEIGHT, such as 512x512", param, ctx)
        return int(found[1]), int(found[2])


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one call."""

    prompt: str | None
    output: Path | None
    size: tuple[int, int] | None
    steps: int | None
    seed: int | None
    negative: str | None
    number: int
    model: str | None
    binding: str | None
    stream_id: str | None


@click.command()
@click.argument("prompt", type=TEXT, required=False)
@click.option(
    "-o",
    "--output",
    type=OUTPUT,
    help="File to write; .jpg and .webp ask for that format. Default: "
    "generated_images/generated_image_DATE-TIME.png. Nothing is ever overwritten.",
)
@click.option(
    "--size",
    type=SizeType(),
    metavar="WIDTHxHEIGHT",
    help="Width and height in pixels, such as 512x512.",
)
@click.option("--steps", type=COUNT, help="Steps of drawing.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="The same seed: the same picture.")
@click.option("--negative", type=TEXT, help="What is not to be seen.")
@click.option("-n", "--number", type=click.IntRange(1, 100), default=1, help="How many pictures.")
@click.option("-m", "--model", type=TEXT, help="Model to ask; default: that of the image binding.")
@click.option("--binding", type=TEXT, help="Binding to ask; default: [defaults] tti_binding.")
@click.option(
    "--stream",
    "stream_id",
    type=TEXT,
    help="Draw nothing: watch this stream, and save its pictures. It may have ended.",
)
@click.option("-c", "--config", type=CONFIG, help="As for `penstock stream`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for machines.")
def image(*, config: Path | None, as_json: bool, **given: object) -> None:
    """Draw pictures of PROMPT, show how they come about, and save them.

    It talks to a server as `penstock stream` does; with none running, an image binding of the
    configuration draws in this very process, else the demo image model, once `make setup-images`
    has installed what it needs.

    A PNG holds prompt, seed and settings in its text chunks. A lost connection is taken up again
    where it broke; Ctrl-C cancels the run at the engine.

    \b
    Examples:
      penstock image "a yellow sun over a green hill"
      penstock image "a red circle" -n 4 --seed 7 --size 64x64
      penstock image "a house" -o house.png --steps 30 --negative "people"
      penstock image --stream 4f1c0b7d9e2a

    Exit status: 0 all pictures are saved, 1 they are not, 2 wrong usage, 130 Ctrl-C.
    """
    wish = msgspec.convert(given, Wish)
    if (wish.prompt is None) == (wish.stream_id is None):
        raise click.UsageError("say what to draw: penstock image PROMPT (or --stream STREAM_ID)")
    if wish.output is not None and not wish.output.name:
        raise click.BadParameter("it names no file", param_hint="'-o'")
    show: Show = Machine() if as_json else Human(_screen.kind())
    _running.run(_image(config, wish, show))


def request(wish: Wish) -> Request:
    """What is asked for."""
    suffix = wish.output.suffix.lower() if wish.output else ""
    values = {
        "size": wish.size,
        "steps": wish.steps,
        "negative_prompt": wish.negative,
        "count": wish.number,
        "file_format": _FORMATS.get(suffix),
    }
    return Request(
        model=f"{wish.binding}/{wish.model or ''}" if wish.binding else wish.model or "",
        messages=(say("user", wish.prompt or ""),),
        modality="image",
        sampling=Sampling(seed=wish.seed),
        image=msgspec.convert(values, ImageAsk),
        stream=True,
    )


async def _image(config: Path | None, wish: Wish, show: Show) -> int:
    work = _Work(wish, show)
    try:
        async with _drawing(settings(config), wish, work):
            await work.watch()
    except GatewayError as error:
        return work.failed(error)
    except asyncio.CancelledError:
        return work.stopped()
    return work.done()


@asynccontextmanager
async def _drawing(chosen: Settings, wish: Wish, work: "_Work") -> AsyncIterator[None]:
    if wish.stream_id is not None:
        async with (
            streams(chosen) as where,
            where.follow(wish.stream_id, BEGINNING) as entries,
        ):
            work.drawing = Drawing(wish.stream_id, entries, where)
            yield
    else:
        async with partner(chosen, pictures=True) as who, who.draw(request(wish)) as work.drawing:
            yield


class _Work:
    """One drawing, from its start to its files."""

    def __init__(self, wish: Wish, show: Show) -> None:
        self.drawing: Drawing | None = None
        self._wish = wish
        self._show = show
        self._files: list[str] = []
        self._start: Start | None = None
        self._end: Done | Failed | None = None
        self._usual = _saving.usual_name(datetime.now().astimezone())

    async def watch(self) -> None:
        """To the end. Raises `GatewayError`."""
        drawing = self.drawing
        if drawing is None:
            return
        async for entry in drawing.entries:
            event = entry.event
            self._show.event(event, await self._preview(drawing, event))
            if isinstance(event, Start):
                self._start = event
            elif isinstance(event, Image):
                await self._save(drawing, event)
            elif isinstance(event, Done | Failed):
                self._end = event

    async def _preview(self, drawing: Drawing, event: Event) -> bytes | None:
        blob: Blob | None = event.preview if isinstance(event, Progress) else None
        if blob is None or not self._show.previews:
            return None
        try:
            return await drawing.picture(blob)
        except GatewayError:
            return None  # the picture itself is still to come

    async def _save(self, drawing: Drawing, event: Image) -> None:
        data = await drawing.picture(event.blob)
        about = self._about(drawing, event)
        texts = {name: str(value) for name, value in about.items() if name != "media_type"}
        data = _saving.with_texts(data, texts | {"Software": "Penstock"})
        file = _saving.save(data, self._name(event), event.blob.media_type)
        self._files.append(str(file))
        self._show.saved(Kept(file=file, data=data, about=about))

    def _about(self, drawing: Drawing, event: Image) -> dict[str, object]:
        start = self._start
        asked = {"prompt": self._wish.prompt, "negative_prompt": self._wish.negative}
        told: dict[str, object] = {
            **asked,
            "prompt_used": event.prompt,
            "seed": event.seed,
            "width": event.width or None,
            "height": event.height or None,
            **event.made_with,
            "binding": start.binding if start else None,
            "model": start.model if start else None,
            "media_type": event.blob.media_type,
            "stream": drawing.stream,
        }
        return {name: value for name, value in told.items() if value is not None}

    def _name(self, event: Image) -> Path:
        wanted = self._wish.output
        if wanted is None:
            return self._usual.with_name(self._usual.name + _saving.ending(event.blob.media_type))
        number = len(self._files) + 1
        return _saving.numbered(wanted, number) if self._wish.number > 1 else wanted

    def done(self) -> int:
        """The stream has ended; is all there?"""
        match self._end:
            case Failed() as failed:
                return self.failed(of_event(failed))
            case Done(reason="cancelled"):
                return self._over(_running.FAILED, "failed", "the run was cancelled by somebody")
            case Done(reason="filtered") if not self._files:
                return self._over(
                    _running.FAILED, "failed", "the engine withheld the picture; change the prompt"
                )
            case Done() if self._files:
                return self._over(_running.DONE, "finished", None)
        return self.failed(EngineProtocolError("the stream ended without a picture; try again"))

    def failed(self, error: GatewayError) -> int:
        """Says what to do."""
        message = explain(error)
        if isinstance(error, UnavailableError) and self.drawing is not None:
            message += f"; `penstock image --stream {self.drawing.stream}` goes on where it broke"
        return self._over(_running.FAILED, "failed", message)

    def stopped(self) -> int:
        """Ctrl-C."""
        if self._wish.stream_id is not None:
            said = "stopped by Ctrl-C; the run goes on"
        elif self.drawing is not None and self.drawing.cancelled:
            said = "stopped by Ctrl-C; the run was cancelled at the engine"
        elif self.drawing is None:
            said = (
                "stopped by Ctrl-C before the server had accepted; should it still, the run ends "
                "after [streams] linger_seconds"
            )
        else:
            said = "stopped by Ctrl-C; the run had ended, or could not be told"
        return self._over(_running.INTERRUPTED, "stopped", said)

    def _over(self, status: int, outcome: str, message: str | None) -> int:
        stream = self.drawing.stream if self.drawing is not None else None
        self._show.ended(
            Ending(outcome=outcome, stream=stream, message=message, files=tuple(self._files))
        )
        return status
