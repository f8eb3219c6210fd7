"""How `penstock image` shows a drawing: for a person, with a bar and previews, or as JSON."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, cast

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from typing_extensions import override

from penstock.cli import _output
from penstock.cli._screen import Kind
from penstock.core import events as ev

_WORDS: Final = {"queued": "waiting", "loading": "loading", "step": "drawing"}


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that was saved. `about`: what the answer says of it."""

    file: Path
    data: bytes
    about: Mapping[str, object]


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended. `outcome`: finished, stopped, failed."""

    outcome: str
    stream: str | None
    message: str | None
    files: tuple[str, ...]


class Show(Protocol):
    """What happens, in order. `previews`: whether anybody sees the work in progress."""

    previews: bool

    def event(self, event: ev.Event, preview: bytes | None) -> None:
        """An event arrived; `preview`: the bytes of its picture, if it has one."""

    def saved(self, kept: Kept) -> None:
        """A picture is a file now."""

    def ended(self, ending: Ending) -> None:
        """It is over."""


class Machine(Show):
    """One JSON object a line: the events, `saved` for each file, `result`. No picture's bytes."""

    previews = False

    @override
    def event(self, event: ev.Event, preview: bytes | None) -> None:
        _output.machine(event)

    @override
    def saved(self, kept: Kept) -> None:
        _output.machine({"type": "saved", "file": str(kept.file), **kept.about})

    @override
    def ended(self, ending: Ending) -> None:
        _output.machine({"type": "result"} | msgspec.to_builtins(ending))
        if ending.outcome == "failed":
            _output.trouble(ending.message or "")


class _ShownModule(Protocol):
    def shown(self, data: bytes, kind: Kind, console: Console) -> RenderableType | None: ...


class Human(Show):
    """A bar, the preview below it, and each picture when it is done. `kind`: what the terminal can
    show, `None` when nobody looks.
    """

    def __init__(self, kind: Kind | None) -> None:
        out, aside = _output.console(), _output.console(aside=True)
        self._console = out if out.is_terminal else aside
        self._kind = kind
        self._pictures = _library() if kind is not None else None
        self.previews = self._pictures is not None
        self._live: Live | None = None
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            console=self._console,
        )
        self._task = self._bar.add_task("", total=1, visible=False)
        self._below: RenderableType | None = None
        self._said = ""

    @override
    def event(self, event: ev.Event, preview: bytes | None) -> None:
        match event:
            case ev.Start(binding=binding, model=model):
                _output.note(f"[{binding}/{model} draws]")
            case ev.Progress():
                self._progress(event, preview)
            case _:
                pass

    def _progress(self, event: ev.Progress, preview: bytes | None) -> None:
        words = _output.clean(f"{_WORDS.get(event.what, event.what)} {event.text}".strip())
        if not self._console.is_terminal:
            if event.what != "step" and words != self._said:
                _output.note(f"[{words} {event.at}/{event.of}]" if event.of else f"[{words}]")
            self._said = words
            return
        self._bar.update(
            self._task,
            description=words,
            completed=event.at,
            total=event.of or None,
            visible=True,
        )
        if preview is not None:
            self._below = self._drawn(preview) or self._below
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        below = () if self._below is None else (self._below,)
        self._live.update(Group(self._bar.get_renderable(), *below), refresh=True)

    def _drawn(self, data: bytes) -> RenderableType | None:
        if self._pictures is None or self._kind is None:
            return None
        return self._pictures.shown(data, self._kind, self._console)

    @override
    def saved(self, kept: Kept) -> None:
        self._close()
        picture = self._drawn(kept.data)
        if picture is not None:
            self._console.print(picture)
        _output.say(str(kept.file), bold=True)
        for name, value in kept.about.items():
            _output.say(f"  {name}: {value}", dim=True)

    @override
    def ended(self, ending: Ending) -> None:
        self._close()
        if ending.message is None:
            return
        if ending.outcome == "failed":
            _output.trouble(ending.message)
        else:
            _output.note(ending.message, dim=False)

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._below = None


def _library() -> _ShownModule | None:
    """What shows pictures, where the extra `images` is installed."""
    try:
        return cast("_ShownModule", import_module("penstock.cli._screen_pictures"))
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("penstock"):
            raise
        _output.note("[no previews: they need 'penstock[images]']")
        return None
