"""What the process that draws says of one run, as events."""

from collections.abc import Sequence
from typing import Final

from penstock.core.errors import EngineError
from penstock.core.events import Done, Event, Image, Progress, Timings, Usage
from penstock.core.ports import Album
from penstock.engines._diffusers_messages import Broke, Draw, Drawn, Over, Report, Step, Withheld

_PREVIEW_TYPE: Final = "image/jpeg"


class Telling:
    """Of one run. `load`: nanoseconds that loading its model took."""

    def __init__(self, draw: Draw, album: Album, load: int) -> None:
        self._draw = draw
        self._album = album
        self._load = load
        self._made = 0
        self._withheld = 0
        self.ended = False

    async def events(self, reports: Sequence[Report]) -> list[Event]:
        """Pictures are kept before they are named. Raises `EngineError` when the run broke.

        Of several previews only the newest is kept, unless the request named their number: storage
        that is slow makes fewer, never late ones.
        """
        newest = next((r for r in reversed(reports) if isinstance(r, Step) and r.preview), None)
        found: list[Event] = []
        for report in reports:
            if isinstance(report, Step):
                wanted = self._draw.previews is not None and report.preview != b""
                found.append(await self._step(report, shown=report is newest or wanted))
            elif isinstance(report, Drawn):
                found.append(await self._image(report))
            elif isinstance(report, Withheld):
                found.append(self._taken_back(report))
            elif isinstance(report, Broke):
                raise self._broken(report)
            elif isinstance(report, Over):
                found += self._end(report)
        return found

    async def _step(self, step: Step, *, shown: bool) -> Progress:
        preview = await self._album.keep(step.preview, _PREVIEW_TYPE) if shown else None
        return Progress(
            what="step", at=step.at, of=step.of, text=self._which(step), preview=preview
        )

    def _which(self, step: Step) -> str:
        count = self._draw.count
        if count == 1:
            return ""
        return f"picture {(step.at - 1) * count // step.of + 1} of {count}"

    async def _image(self, drawn: Drawn) -> Image:
        self._made += 1
        blob = await self._album.keep(drawn.data, f"image/{self._draw.file_format}")
        return Image(
            part=drawn.part,
            blob=blob,
            width=drawn.width,
            height=drawn.height,
            seed=drawn.seed,
            made_with=drawn.made_with,
        )

    def _taken_back(self, withheld: Withheld) -> Progress:
        self._withheld += 1
        which = f"picture {withheld.part + 1} of {self._draw.count}"
        return Progress(what="step", text=f"{which} was withheld by the model's safety checker")

    def _broken(self, broke: Broke) -> EngineError:
        if broke.memory:
            return EngineError(f"memory ran out while the picture was drawn: {broke.message}")
        return EngineError(f"the pipeline failed: {broke.message}")

    def _end(self, over: Over) -> list[Event]:
        self.ended = True
        timings = Timings(load=self._load, generation=over.nanoseconds)
        return [
            Usage(input_tokens=0, output_tokens=0, images=self._made, timings=timings),
            Done(reason="filtered" if self._withheld else "stop"),
        ]
