"""How `penstock stream` shows an answer: for a person, in the demonstration's order, or as JSON."""

import re
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
from typing_extensions import override

from penstock.cli import _output
from penstock.cli._measures import Figures
from penstock.cli._settings import Settings
from penstock.cli._talking import Answer
from penstock.client.connection import Received
from penstock.core.events import (
    Done,
    Event,
    Failed,
    Finish,
    Image,
    Progress,
    ReasoningDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from penstock.core.request import Request
from penstock.core.secrets import Secret
from penstock.wire import json

_LINE: Final = "=" * 50
_THIN: Final = "-" * 60
_WHO: Final = re.compile(r"//[^/?#]*@")


class Show(Protocol):
    """What happens, in order."""

    def configuration(self, chosen: Settings, address: str, request: Request) -> None:
        """What is about to be asked, and where."""

    def answering(self, answer: Answer) -> None:
        """The server has accepted."""

    def received(self, batch: Sequence[Received]) -> None:
        """Events arrived."""

    def finished(self, figures: Figures) -> None:
        """The answer is whole."""

    def stopped(self, figures: Figures) -> None:
        """Ctrl-C."""

    def failed(self, why: str, figures: Figures | None) -> None:
        """It broke; `figures` when something had begun."""


class Machine(Show):
    """One JSON object a line: the events, then `statistics`. Debugging goes to standard error."""

    def __init__(self, *, debug: bool) -> None:
        self._debug = _Debug(debug, aside=True)

    @override
    def configuration(self, chosen: Settings, address: str, request: Request) -> None:
        self._debug.configuration(chosen)

    @override
    def answering(self, answer: Answer) -> None:
        self._debug.answering(answer)

    @override
    def received(self, batch: Sequence[Received]) -> None:
        self._debug.received(batch)
        for event in [event for one in batch for event in one.events]:
            _output.machine(event)

    @override
    def finished(self, figures: Figures) -> None:
        self._end(figures, "finished", None)

    @override
    def stopped(self, figures: Figures) -> None:
        self._end(figures, "stopped", None)

    @override
    def failed(self, why: str, figures: Figures | None) -> None:
        self._end(figures, "failed", why)
        _output.trouble(why)

    def _end(self, figures: Figures | None, outcome: str, why: str | None) -> None:
        said: dict[str, object] = {"type": "statistics", "outcome": outcome}
        if why is not None:
            said["message"] = why
        _output.machine(said | (msgspec.to_builtins(figures) if figures is not None else {}))


class Human(Show):
    """The order of the streaming demonstration: configuration, question, text, figures."""

    def __init__(self, *, debug: bool) -> None:
        self._debug = _Debug(debug, aside=False)
        self._on_debug = debug
        self._open = False
        self._last = "\n"
        self._called: set[int] = set()

    @override
    def configuration(self, chosen: Settings, address: str, request: Request) -> None:
        model = request.model or "default"
        where = "in this process" if address == "in this process" else "SSE"
        _output.say("🔧 Configuration:", bold=True)
        _output.say(f"   - API: {address}")
        _output.say(f"   - Model: {model}")
        _output.say(f"   - Streaming: Enabled ({where})")
        if chosen.where is not None:
            _output.say(f"   - Configured by: {chosen.where}")
        self._debug.configuration(chosen)
        _output.say()
        _output.say("🚀 Penstock streaming demonstration", bold=True)
        _output.say(f"📊 Model: {model}")
        _output.say(f"💭 Question: {request.messages[-1].text}")
        _output.say()

    @override
    def answering(self, answer: Answer) -> None:
        self._debug.answering(answer)
        _output.say("🎬 Streaming response:", bold=True)
        _output.say(_LINE)
        self._open = True

    @override
    def received(self, batch: Sequence[Received]) -> None:
        if self._on_debug:
            self._debug.received(batch)
        for event in [event for one in batch for event in one.events]:
            self._event(event)

    def _event(self, event: Event) -> None:
        match event:
            case TextDelta(text=text):
                self._write("text", text)
            case ReasoningDelta(text=text):
                self._write("reasoning", text)
            case ToolCallDelta(name=name, arguments=arguments, part=part):
                head = f"\n🔧 {name or 'call'} " if part not in self._called else ""
                self._called.add(part)
                self._write("tool", head + arguments)
            case Progress(what=what, at=at, of=of, text=text):
                _output.note(f"[{what} {at}/{of}] {text}" if of else f"[{what}] {text}")
            case Image(blob=blob):
                _output.say(f"[{blob.media_type}, {blob.size} bytes]")
            case Start() | Finish() | Usage() | Failed() | Done():
                pass

    def _write(self, kind: str, text: str) -> None:
        if kind == "text" and self._last == "reasoning":
            _output.write("\n\n")
        _output.write(text, dim=kind != "text", colour="green" if kind == "text" else None)
        self._last = kind

    @override
    def finished(self, figures: Figures) -> None:
        self._close()
        _output.say("✅ Streaming finished!", bold=True)
        self._figures(figures)

    @override
    def stopped(self, figures: Figures) -> None:
        self._close()
        _output.say("⏹️  Stopped by Ctrl-C. What arrived:", bold=True)
        self._figures(figures)

    @override
    def failed(self, why: str, figures: Figures | None) -> None:
        began = self._open
        self._close()
        _output.trouble(why)
        if figures is not None and began:
            _output.say("❌ Streaming failed. What arrived:", bold=True)
            self._figures(figures)

    def _close(self) -> None:
        if self._open:
            _output.say("\n" + _LINE)
            self._open = False

    def _figures(self, figures: Figures) -> None:
        if figures.counted == "usage":
            _output.say(f"📊 Tokens received: {figures.tokens}")
        else:
            _output.say(f"📊 Chunks received: {figures.tokens} (the server counted no tokens)")
        unit = "tokens" if figures.counted == "usage" else "chunks"
        _output.say(f"⏱️  Duration: {figures.duration_s:.2f}s")
        _output.say(f"🚀 Speed: {figures.tokens_per_second:.1f} {unit}/s")
        if figures.first_token_s is not None:
            _output.say(f"⚡ First token: {figures.first_token_s:.3f}s")
        if figures.gap_p50_ms is not None:
            gaps = f"p50 {figures.gap_p50_ms:.1f} ms, p99 {figures.gap_p99_ms:.1f} ms"
            _output.say(f"📏 Gap between pieces: {gaps}")
        if figures.finish_reason == "length":
            _output.say("✂️  Cut at the limit; --max-tokens raises it")
        if figures.malformed:
            _output.say(f"⚠️  Malformed events skipped: {figures.malformed} (--debug shows them)")
        self._debug.figures(figures)


def _unsigned(address: str | None) -> str | None:
    """An address without the password that may be in it."""
    return _WHO.sub("//***@", address) if address is not None else None


class _Debug:
    """What `--debug` adds: configuration, payloads, raw events, statistics; every key masked."""

    def __init__(self, debug: bool, *, aside: bool) -> None:
        self._debug = debug
        self._aside = aside
        self._secrets: list[Secret] = []

    def configuration(self, chosen: Settings) -> None:
        """The client's settings. Remembers its keys, should anybody echo them."""
        api = chosen.client.api
        self._secrets = [key for key in (api.token, chosen.local_key) if key is not None]
        defaults = chosen.client.defaults
        shown: dict[str, object] = {
            "api": {"endpoint": _unsigned(api.endpoint), "token": "***" if api.token else None},
            "defaults": {name: getattr(defaults, name) for name in defaults.__struct_fields__},
        }
        self._dump("configuration", shown)

    def answering(self, answer: Answer) -> None:
        """Request and answer."""
        for name, value in answer.exchange.items():
            self._dump(name, value)

    def received(self, batch: Sequence[Received]) -> None:
        """Each event as it came, and what was found in it."""
        if not self._debug:
            return
        for one in batch:
            if one.raw:
                self._line(f"[raw] {one.raw.decode(errors='replace')}")
            if one.trouble:
                self._line(f"[malformed, skipped] {one.trouble}")
            for event in one.events:
                self._line(f"[event] {json.encode(event).decode()}")

    def figures(self, figures: Figures) -> None:
        """The statistics object."""
        self._dump("statistics", msgspec.to_builtins(figures))

    def _dump(self, name: str, value: object) -> None:
        if self._debug:
            self._line(f"[{name}]")
            self._line(msgspec.json.format(json.encode(value), indent=2).decode())
            self._line(_THIN)

    def _line(self, text: str) -> None:
        for key in self._secrets:
            text = text.replace(key.reveal(), "***")
        _output.note(text) if self._aside else _output.say(text, dim=True)
