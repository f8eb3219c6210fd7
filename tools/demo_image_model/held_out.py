"""The 200 held-out captions: written once, before training, to `held_out.tsv`, and read there."""

import random
from pathlib import Path
from typing import NamedTuple

from captions import caption
from meaning import HELD_OUT, Meaning, held_out_meaning

FILE = Path(__file__).with_name("held_out.tsv")


class HeldOut(NamedTuple):
    """One caption, and what it means."""

    kind: str
    seed: int
    caption: str
    meaning: Meaning


def _make(kind: str, seed: int) -> HeldOut:
    rng = random.Random(seed)
    meaning = held_out_meaning(kind, rng)
    return HeldOut(kind, seed, caption(meaning, rng, plain=True), meaning)


def write(path: Path) -> None:
    """Choose the captions: no two the same, and no two pictures."""
    lines: list[str] = []
    seen: set[Meaning | str] = set()
    for kind, count in HELD_OUT.items():
        seed = 7_000_000
        while count:
            seed += 1
            one = _make(kind, seed)
            if not seen & {one.caption, one.meaning}:
                seen |= {one.caption, one.meaning}
                lines.append(f"{kind}\t{seed}\t{one.caption}\n")
                count -= 1
    path.write_text("".join(lines))


def read(path: Path = FILE) -> list[HeldOut]:
    """The captions of the file. Raises ValueError if the grammar no longer makes one of them."""
    found = []
    for line in path.read_text().splitlines():
        kind, seed, words = line.split("\t")
        one = _make(kind, int(seed))
        if one.caption != words:
            raise ValueError(f"{words!r} was to be held out, the grammar now says {one.caption!r}")
        found.append(one)
    return found


if __name__ == "__main__":
    write(FILE)
