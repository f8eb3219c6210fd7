"""What a script says, in all the shapes that lollms lets it, as events (1.5, 1.6 and 5.2).

A text is streamed as it is yielded. The shapes that no event can hold (sound, films, pictures that
a script drew) end the run with an error that names them: nothing is dropped without a word.
"""

import inspect
import logging
from collections.abc import Mapping
from typing import Final

from penstock.core import events as ev
from penstock.core.errors import InternalError
from penstock.gateway.strangers import sound
from penstock.wire import json

logger = logging.getLogger(__name__)

_REASONING, _TEXT, _CALLS = 0, 1, 2
_ITEMS: Final = frozenset({"text", "image", "audio", "video", "json", "error", "info"})
_CHUNKS: Final = frozenset({"chunk", "final", "error", "info", "function_call"})
_BINARY: Final = {"image_base64": "image", "audio_base64": "audio", "video_base64": "video"}


class Sayings:
    """Hears one thing after the other; `over` once nothing more may be said."""

    def __init__(self, personality: str) -> None:
        self._who = f"the script of the personality {personality!r}"
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls = 0
        self._told = False
        self._failed: ev.Failed | None = None

    @property
    def over(self) -> bool:
        """Whether it has failed."""
        return self._failed is not None

    def hear(self, said: object) -> list[ev.Event]:
        """The events of what a script returned, or of one chunk that it yielded.

        Raises `InternalError` for what can't be told.
        """
        if isinstance(said, list | tuple):
            return self._list(said)
        if not isinstance(said, Mapping):
            if said is None:
                raise InternalError(f"{self._who} returned nothing")
            if inspect.isgenerator(said):
                raise InternalError(f"{self._who} yields without being async")
            return self._say(str(said))
        kind = said.get("type")
        if "content" in said and (kind in _CHUNKS or "data" not in said):
            return self._chunk(str(kind), said)
        return self._item(said)

    def end(self) -> list[ev.Event]:
        """How it ends, once everything was heard."""
        if self._failed is not None:
            return [self._failed]
        if not self._told:
            raise InternalError(f"{self._who} said nothing")
        return [ev.Done(reason="tool_calls" if self._calls else "stop")]

    # ── chunks ───────────────────────────────────────────────────────────────────────────────────

    def _chunk(self, kind: str, said: Mapping[object, object]) -> list[ev.Event]:
        content = said.get("content")
        found = self._think(said.get("thoughts"))
        match kind:
            case "chunk":
                found += self._say(_words(content)) if content is not None else []
            case "info":
                found.append(self._info(content))
            case "error":
                self._fail(content)
            case "final":
                found += self._final(content)
            case "function_call":
                found += self._call(content)
            case _:
                raise InternalError(f"{self._who} yielded a chunk of the type {kind!r}")
        return found

    def _final(self, content: object) -> list[ev.Event]:
        """What of it was not said before. What was said stands, whatever `final` makes of it."""
        self._told = True
        before, thought = "".join(self._text), "".join(self._reasoning)
        if not before and not thought:
            return self.hear(content) if content not in (None, "", []) else []
        items = content if isinstance(content, list | tuple) else [content]
        texts, thoughts = [], []
        for item in items:
            data = item.get("data") if isinstance(item, Mapping) else item
            if isinstance(item, Mapping) and item.get("type") not in ("text", None):
                if item.get("type") == "error":
                    self._fail(data)
                continue
            texts.append(_words(data) if data is not None else "")
            if isinstance(item, Mapping) and isinstance(item.get("thoughts"), str):
                thoughts.append(item["thoughts"])
        rest = _rest("\n\n".join(thoughts), thought)
        return self._think(rest) + self._say(_rest("".join(texts), before))

    def _call(self, content: object) -> list[ev.Event]:
        if not isinstance(content, Mapping) or not isinstance(content.get("name"), str):
            raise InternalError(f"{self._who} yielded a function_call without a name")
        arguments = content.get("arguments", {})
        text = arguments if isinstance(arguments, str) else json.encode(arguments).decode()
        call = sound(str(content.get("id") or f"call_{self._calls}"))
        name, text = sound(content["name"]), sound(text)
        part = _CALLS + self._calls
        self._calls += 1
        self._told = True
        return [ev.ToolCallDelta(part=part, call=call, name=name, arguments=text)]

    # ── items ────────────────────────────────────────────────────────────────────────────────────

    def _list(self, items: list[object] | tuple[object, ...]) -> list[ev.Event]:
        found: list[ev.Event] = []
        for item in items:
            if isinstance(item, Mapping) and (item.get("type") not in _ITEMS or "data" not in item):
                logger.warning(
                    "%s: an item of the type %r is left out", self._who, item.get("type")
                )
            elif item is not None and not self.over:
                found += self.hear(item)
        return found

    def _item(self, item: Mapping[object, object]) -> list[ev.Event]:
        kind, data = item.get("type"), item.get("data")
        if kind in _ITEMS and data is not None:
            return self._typed(str(kind), data, item.get("thoughts"))
        if isinstance(item.get("text"), str):
            return self._typed("text", item["text"], item.get("thoughts"))
        for key, binary in _BINARY.items():
            if key in item:
                return self._typed(binary, item[key], None)
        return self._say(json.encode(item).decode())

    def _typed(self, kind: str, data: object, thoughts: object) -> list[ev.Event]:
        match kind:
            case "text":
                return self._think(thoughts) + self._say(_words(data))
            case "json":
                return self._say(json.encode(data).decode())
            case "info":
                return [self._info(data)]
            case "error":
                self._fail(data)
                return []
            case _:
                raise InternalError(f"{self._who} made {kind}, which can't be told yet")

    # ── events ───────────────────────────────────────────────────────────────────────────────────

    def _say(self, text: str) -> list[ev.Event]:
        self._told = True
        if not text:
            return []
        text = sound(text)
        self._text.append(text)
        return [ev.TextDelta(part=_TEXT, text=text)]

    def _think(self, text: object) -> list[ev.Event]:
        if not isinstance(text, str) or not text:
            return []
        self._told = True
        text = sound(text)
        self._reasoning.append(text)
        return [ev.ReasoningDelta(part=_REASONING, text=text)]

    def _info(self, content: object) -> ev.Event:
        return ev.Progress(what="step", text=_words(content))

    def _fail(self, content: object) -> None:
        self._failed = ev.Failed(code=InternalError.code, message=_words(content))


def _words(content: object) -> str:
    return sound(content) if isinstance(content, str) else json.encode(content).decode()


def _rest(text: str, before: str) -> str:
    """What `text` adds to what was said before; nothing where it says something else."""
    return text[len(before) :] if text.startswith(before) else ""
