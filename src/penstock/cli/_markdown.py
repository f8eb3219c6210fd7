"""Markdown that is rendered while it arrives."""

import time
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown

from penstock.cli import _output

_REDRAW_SECONDS: Final = 0.08
_SHOWN_AS: Final = {"html_inline": "text", "html_block": "code_block"}
"""rich leaves out what Markdown takes for HTML, such as the second word of `Vec<String>`."""


class Rendering:
    """Finished paragraphs are printed for good; only the last one is drawn again and again.

    So a long answer scrolls as any output does, and what is above is never repainted.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="visible")
        self._open = ""
        self._drawn = 0.0

    def __enter__(self) -> "Rendering":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.update(_drawn(self._open), refresh=True)
        self._live.stop()

    def add(self, text: str) -> None:
        """More of the answer."""
        self._open += _output.clean(text)
        whole, self._open = split(self._open)
        if whole:
            self._live.update("", refresh=True)
            self._console.print(_drawn(whole))
        now = time.monotonic()
        if whole or now - self._drawn > _REDRAW_SECONDS:
            self._live.update(_drawn(self._open), refresh=True)
            self._drawn = now


def _drawn(text: str) -> Markdown:
    """Every word of it, and no control character: Markdown shows `<http://a/%1B>` decoded."""
    found = Markdown(text)
    tokens = list(found.parsed)
    while tokens:
        token = tokens.pop()
        token.type = _SHOWN_AS.get(token.type, token.type)
        token.content = _output.clean(token.content)
        tokens += token.children or ()
    return found


def split(text: str) -> tuple[str, str]:
    """Blocks that nothing can change any more, and the rest.

    Cut at the last blank line that stands in no fenced block and is followed by a line that neither
    is indented nor continues a list.
    """
    fenced = False
    cut = place = 0
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not line.strip() and not fenced and _begins(lines, number + 1):
            cut = place + len(line)
        place += len(line)
    return text[:cut], text[cut:]


def _begins(lines: list[str], number: int) -> bool:
    """Whether a new block begins at that line, as far as is known."""
    if number >= len(lines) or not lines[number].strip():
        return False
    first = lines[number]
    item = first.lstrip()[:1]
    return not first[0].isspace() and item not in "-*+>|" and not item.isdigit()
