"""Characters that a server cut in half: `"\\ud83d"` in one chunk, `"\\ude00"` in the next.

Such JSON is no text, and a decoder must refuse it. The halves are carried through the decoder as
private-use characters and joined where they meet.
"""

import re
from typing import Final

_ESCAPES: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # whole: left alone
    rb"|\\u([dD][89a-fA-F][0-9a-fA-F]{2})"  # half
    rb"|\\."  # any other escape, among them an escaped backslash
)
_CARRIER: Final = 0xF0000 - 0xD800
_PAIRS: Final = re.compile("([\U000f0000-\U000f03ff])([\U000f0400-\U000f07ff])")
_LAST_HIGH: Final = re.compile("[\U000f0000-\U000f03ff]$")
_HALVES: Final = re.compile("[\U000f0000-\U000f07ff]")


def carry(data: bytes) -> bytes:
    """JSON text with its lone halves replaced by carriers. The same bytes when there are none."""
    return _ESCAPES.sub(_carried, data)


def _carried(match: re.Match[bytes]) -> bytes:
    half = match.group(1)
    return match.group() if half is None else chr(int(half, 16) + _CARRIER).encode()


def repair(text: str) -> str:
    """Carriers that stand alone become the replacement character."""
    return _HALVES.sub("\ufffd", text)


class Joiner:
    """Joins the halves of each part's text. What is held is at most one character a part."""

    def __init__(self) -> None:
        self._held: dict[int, str] = {}

    def feed(self, part: int, text: str) -> str:
        """The text that is whole now."""
        text = _PAIRS.sub(_joined, self._held.pop(part, "") + text)
        if _LAST_HIGH.search(text):
            self._held[part] = text[-1]
            text = text[:-1]
        return repair(text)


def _joined(match: re.Match[str]) -> str:
    high, low = (ord(half) - _CARRIER for half in match.groups())
    return (chr(high) + chr(low)).encode("utf-16", "surrogatepass").decode("utf-16")
