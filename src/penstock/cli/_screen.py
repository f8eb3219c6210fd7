"""What kind of pictures the terminal can show: it is asked, and its answer decides."""

import os
import select
import sys
import time
from contextlib import suppress
from typing import Final, Literal

if sys.platform != "win32":
    import termios
    import tty

Kind = Literal["iterm2", "kitty", "sixel", "half blocks"]

_QUESTIONS: Final = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[>q\x1b[c"
"""Kitty's graphics query, XTVERSION, primary device attributes. Every terminal answers the last,
so whatever comes before that answer is all that will come.

Sources: https://sw.kovidgoyal.net/kitty/graphics-protocol/#querying-support-and-available-transmission-mediums
and xterm's control sequences (`CSI > q`, `CSI c`).
"""
_SECONDS: Final = 0.5
_MOST: Final = 4096


def kind() -> Kind | None:
    """What it shows; `None` where nobody looks (standard input and output are no terminal), and
    where it can't be asked.
    """
    if sys.platform == "win32" or os.environ.get("TERM") == "dumb":
        return None
    if not all(one is not None and one.isatty() for one in (sys.stdin, sys.stdout)):
        return None
    try:
        return chosen(_asked(sys.stdin.fileno(), sys.stdout.fileno()))
    except (OSError, termios.error):
        return None


def chosen(answer: bytes) -> Kind:
    """From the terminal's answers. iTerm2 knows sixel too, and shows more colours its own way."""
    if b"iTerm2" in answer:
        return "iterm2"
    if b"\x1b_Gi=31;OK" in answer:
        return "kitty"
    attributes = answer.rpartition(b"\x1b[?")[2].partition(b"c")[0].split(b";")
    return "sixel" if b"4" in attributes else "half blocks"


def _asked(given: int, shown: int) -> bytes:
    """The answers, until that to the last question or until time is up. Echo is off meanwhile."""
    before = termios.tcgetattr(given)
    tty.setcbreak(given, termios.TCSANOW)
    try:
        os.write(shown, _QUESTIONS)
        return _answers(given)
    finally:
        with suppress(termios.error):
            termios.tcsetattr(given, termios.TCSANOW, before)


def _answers(given: int) -> bytes:
    found = b""
    end = time.monotonic() + _SECONDS
    while len(found) < _MOST and not _complete(found):
        left = end - time.monotonic()
        if left <= 0 or not select.select([given], [], [], left)[0]:
            break
        data = os.read(given, 256)
        if not data:
            break
        found += data
    return found


def _complete(found: bytes) -> bool:
    """Whether the answer to `CSI c` is in it: `CSI ? … c`."""
    _, began, rest = found.rpartition(b"\x1b[?")
    return bool(began) and b"c" in rest
