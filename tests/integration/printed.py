"""What the examples print, whatever language they are written in."""

import re
from collections.abc import Callable


def prints(pattern: str) -> Callable[[str], bool]:
    return lambda out: re.search(pattern, out, re.DOTALL) is not None


def collects(out: str) -> bool:
    """Each word of the answer is in one of the sentences, the last and unfinished one's too."""
    sentences, _, last = out.rstrip().rpartition("\n")
    words = re.sub(r"^\d+\. ", "", sentences, flags=re.MULTILINE).split()
    found = re.fullmatch(r"(\d+) words, ended by (stop|length)", last)
    return found is not None and len(words) == int(found[1]) > 3
