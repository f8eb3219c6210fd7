"""Pictures on a terminal. Needs the extra `images`; only to be imported at a terminal, for the
library asks it questions of its own when it is imported.

iTerm2's escape: https://iterm2.com/documentation-images.html.
"""

import logging
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from typing import Final

from PIL import Image
from rich.console import Console, ConsoleOptions, RenderableType
from rich.control import Control
from rich.segment import ControlType, Segment
from textual_image.renderable import HalfcellImage, SixelImage, TGPImage

from penstock.cli._screen import Kind

_ROWS: Final = 16
_WIDER: Final = 2.0
"""A cell is about twice as high as it is wide."""
_AS_IS: Final = ((ControlType.CURSOR_FORWARD, 0),)
"""Marks text that rich passes through."""

logging.getLogger("textual_image").addHandler(logging.NullHandler())


def shown(data: bytes, kind: Kind, console: Console) -> RenderableType | None:
    """The picture for this terminal, in a few rows; `None` when it is none that can be shown."""
    try:
        with Image.open(BytesIO(data)) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    rows = max(1, min(_ROWS, console.height - 4))
    columns = max(1, round(rows * _WIDER * image.width / image.height))
    if columns > console.width:
        rows = max(1, rows * console.width // columns)
        columns = console.width
    match kind:
        case "iterm2":
            return ITerm2Image(data, columns, rows)
        case "kitty":
            return TGPImage(image, width=columns, height=rows)
        case "sixel":
            return SixelImage(image, width=columns, height=rows)
        case "half blocks":
            return HalfcellImage(image, width=columns, height=rows)


class ITerm2Image:
    """A picture by iTerm2's inline images, `columns` by `rows` cells."""

    def __init__(self, data: bytes, columns: int, rows: int) -> None:
        self._columns = columns
        self._rows = rows
        place = f"width={columns};height={rows};preserveAspectRatio=1"
        size = f"size={len(data)};inline=1"
        self._escape = f"\x1b]1337;File={place};{size}:{b64encode(data).decode()}\x07"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Empty rows that rich can count, and the picture over them; the cursor comes back."""
        for _ in range(self._rows):
            yield Segment(" " * self._columns + "\n")
        yield Segment("\x1b7", control=_AS_IS)
        yield Control.move(0, -self._rows).segment
        yield Segment(self._escape, control=_AS_IS)
        yield Segment("\x1b8", control=_AS_IS)
