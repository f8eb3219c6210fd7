"""Small text grammar: inline choices ``[a|b]``, slots ``{name}`` and the data file readers."""

from __future__ import annotations

import random
import re
from pathlib import Path

DATA = Path(__file__).parent / "data"

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(
    r"\b([Aa]) (?=[aeiou]|hon|hour)(?!(?:uni|use|usu|eu|one\b|ubi))", re.IGNORECASE
)
_ONSETS = [
    "b",
    "br",
    "d",
    "f",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "st",
    "t",
    "tr",
    "v",
    "w",
    "z",
]
_VOWELS = ["a", "e", "i", "o", "u", "ai", "ee", "oo", "ia"]
_CODAS = ["", "", "", "n", "l", "r", "s", "m", "x", "nd", "th", "ck"]

Context = dict[str, str]


def capital(text: str) -> str:
    """Upper-case the first letter only."""
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    """Put "a" or "an" before a noun phrase."""
    return fix_articles(f"a {noun}")


def fix_articles(text: str) -> str:
    """Turn "a apple" into "an apple"."""
    return _ARTICLE.sub(lambda m: m.group(1) + "n ", text)


def choose_inline(text: str, rng: random.Random) -> str:
    """Resolve every ``[a|b|c]``, innermost first."""
    while (match := _CHOICE.search(text)) is not None:
        pick = rng.choice(match.group(1).split("|"))
        text = text[: match.start()] + pick + text[match.end() :]
    return text


def expand(text: str, rng: random.Random, context: Context | None = None) -> str:
    """Resolve choices and slots; ``{Name}`` is ``{name}`` with a capital."""
    values = context or {}

    def fill(match: re.Match[str]) -> str:
        key = match.group(1)
        if key in values:
            return values[key]
        if key.lower() in values:
            return capital(values[key.lower()])
        return match.group(0)

    text = choose_inline(text, rng)
    for _ in range(3):
        filled = _SLOT.sub(fill, text)
        if filled == text:
            break
        text = filled
    return fix_articles(text.replace("<nl>", "\n")).strip()


def invent_word(rng: random.Random, syllables: int = 2) -> str:
    """Make up a pronounceable word, so that the model has to copy and cannot memorise."""
    return "".join(
        rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables)
    )


def read_rules(name: str) -> dict[str, list[str]]:
    """Read ``@rule`` sections: one alternative per line."""
    rules: dict[str, list[str]] = {}
    current: list[str] = []
    for line in (DATA / name).read_text("utf-8").splitlines():
        if line.startswith("@"):
            current = rules.setdefault(line[1:].strip(), [])
        elif line.strip():
            current.append(line.strip())
    return rules


def read_blocks(name: str) -> list[tuple[list[str], list[str]]]:
    """Read ``# a | b`` headed blocks: aliases and the raw lines below them."""
    blocks: list[tuple[list[str], list[str]]] = []
    for line in (DATA / name).read_text("utf-8").splitlines():
        if line.startswith("# "):
            blocks.append(([alias.strip() for alias in line[2:].split("|")], []))
        elif blocks:
            blocks[-1][1].append(line)
    return blocks


def words(line: str) -> list[str]:
    """Split a line into words; an underscore stands for a space."""
    return [word.replace("_", " ") for word in line.split()]


def pairs(lines: list[str]) -> dict[str, str]:
    """Read ``key=value`` words."""
    return dict(word.split("=", 1) for line in lines for word in words(line))
