"""`<think>…</think>` at the beginning of an answer, however the pieces are cut."""

import re
from collections.abc import Iterator
from typing import Final, Literal

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"
_CLOSING: Final = re.compile(_CLOSE, re.IGNORECASE | re.ASCII)
_MOST_SPACE: Final = 64
"""White space held back at most: a model that writes nothing else must not fill our memory."""


class ThinkTags:
    """Tells thinking from answering in one choice's text.

    Only a tag that opens the answer counts (white space may stand before it), in any case; a later
    `<think>` is text. White space beside the tags belongs to neither side. What may still turn out
    to be part of a tag is held back until it is decided.
    """

    def __init__(self) -> None:
        self._state: Literal["before", "opened", "inside", "closed", "after"] = "before"
        self._held = ""

    @property
    def passed(self) -> bool:
        """From here on everything is the answer, and nothing is held back."""
        return self._state == "after"

    def give_up(self) -> str:
        """There will be no tag (the thinking came another way). Returns the text held back."""
        held, self._held = self._held, ""
        self._state = "after"
        return held

    def feed(self, piece: str) -> Iterator[tuple[bool, str]]:
        """What is decided now, as (is it thinking, text)."""
        text, self._held = self._held + piece, ""
        if self._state == "before":
            begun = text.lstrip()
            head = begun[: len(_OPEN)].lower()
            if head == _OPEN:
                self._state = "opened"
                text = begun[len(_OPEN) :]
            elif _OPEN.startswith(head) and len(text) < len(_OPEN) + _MOST_SPACE:
                self._held = text
                return
            else:
                self._state = "after"
        if self._state in ("opened", "inside"):
            thought, text = self._think(text)
            if thought:
                yield True, thought
        if self._state == "closed":
            text = text.lstrip()
            if text:
                self._state = "after"
        if self._state == "after" and text:
            yield False, text

    def _think(self, text: str) -> tuple[str, str]:
        """The thinking that is certain, and what follows the closing tag."""
        if self._state == "opened":
            text = text.lstrip()
            if text:
                self._state = "inside"
        closing = _CLOSING.search(text)
        if closing:
            self._state = "closed"
            return text[: closing.start()].rstrip(), text[closing.end() :]
        kept = _tail(text)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept], ""

    def end(self) -> Iterator[tuple[bool, str]]:
        """What was held back when the text ended."""
        held, self._held = self._held, ""
        if held.strip() or (held and self._state == "before"):
            yield self._state == "inside", held


def _tail(text: str) -> int:
    """How many last characters may be the beginning of the closing tag, or space before it."""
    kept = 0
    low = text[-len(_CLOSE) :].lower()
    for n in range(min(len(low), len(_CLOSE) - 1), 0, -1):
        if _CLOSE.startswith(low[-n:]):
            kept = n
            break
    before = text[: len(text) - kept]
    return kept + min(len(before) - len(before.rstrip()), _MOST_SPACE)
