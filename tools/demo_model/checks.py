"""Exactness checks for ``evaluate.py``: counting, sums, list lengths, honest limits, and what must stay.

The wordings are written here and not taken from the corpus scripts; most are also in the training
set, the others are marked. ``data/heldout.txt`` holds questions that the corpus never contains.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from grammar import DATA, expand
from scenes_talk import EXPLAIN
from sources import CAPITALS, LISTS, NUMBER_WORDS, WORDS

COUNT_TO = [
    "Count to {b}",
    "count to {b}.",
    "Please count to {b}.",
    "Can you count to {b}?",
    "Would you count to {b} for me?",  # a new wording
]
COUNT_FROM = [
    "Count from {a} to {b}.",
    "Count from {a} to {b}",
    "count from {a} to {b}",
    "Please count from {a} to {b}.",
    "Can you count from {a} to {b}?",
    "Write the numbers from {a} to {b}.",
    "Print all numbers from {a} to {b}.",  # a new wording
    "Hi! Count from {a} to {b}, please.",  # a new wording
]
COUNT_DOWN = [
    "Count down from {a} to {b}.",
    "Count backwards from {a} to {b}.",
    "count down from {a} to {b}",
    "Please count down from {a} to {b}!",  # a new wording
]
SUMS = [
    "What is {a} + {b}?",
    "What is {a} plus {b}?",
    "what's {a}+{b}",
    "{a} + {b}",
    "{a} + {b} = ?",
    "{a}+{b}=",
    "Calculate {a} + {b}.",
    "How much is {a} plus {b}?",
    "Add {a} and {b}.",
    "What is the sum of {a} and {b}?",
    "Please tell me what {a} + {b} is.",  # a new wording
    "Do the sum {a} + {b}.",  # a new wording
]
ASK_LISTS = [
    "List {n} {x}.",
    "List {n} {x}",
    "list {n} {x}",
    "Give me {n} {x}.",
    "Name {n} {x}.",
    "Please list {n} {x}.",
    "Can you name {n} {x}?",
    "Write a list of {n} {x}.",
    "Please write down {n} {x} for me.",  # a new wording
    "Help me with a list of {n} {x}.",  # a new wording
]
UNSURE = re.compile(r"(?:do not|don't) know|know nothing|never learned|outside of what I know")


@dataclass(frozen=True)
class Case:
    """A prompt and whether a reply to it is right."""

    prompt: str
    right: Callable[[str], bool]


def numbers(text: str) -> list[int]:
    """The whole numbers in a text."""
    return [int(part) for part in re.findall(r"\d+", text)]


def counting(count: int, seed: int = 21) -> list[Case]:
    """Counting up to 50 and down from 20, of every length."""
    rng = random.Random(seed)
    cases = [Case("Count from 1 to 20.", lambda text: numbers(text) == list(range(1, 21)))]
    while len(cases) < count:
        kind = rng.choice(["to", "to", "from", "from", "from", "down"])
        a, b = (1, rng.randint(2, 30)) if kind == "to" else (rng.randint(0, 20), 0)
        if kind == "from":
            a = rng.choice([1, a])
            b = a + rng.randint(2, 30)
        elif kind == "down":
            a = rng.randint(3, 20)
            b = rng.choice([0, 1, 1, rng.randint(1, a - 1)])
        asks = {"to": COUNT_TO, "from": COUNT_FROM, "down": COUNT_DOWN}[kind]
        expected = list(range(a, b + 1)) if a < b else list(range(a, b - 1, -1))
        ask = rng.choice(asks).replace("{a}", str(a)).replace("{b}", str(b))
        cases.append(Case(ask, lambda text, want=expected: numbers(text) == want))
    return cases


def sums(seed: int = 22) -> list[Case]:
    """Every sum of two digits, each in one of the wordings."""
    rng = random.Random(seed)
    cases = []
    for a in range(10):
        for b in range(10):
            ask = rng.choice(SUMS).replace("{a}", str(a)).replace("{b}", str(b))
            cases.append(Case(ask, lambda text, want=a + b: numbers(text)[-1:] == [want]))
    return cases


def is_list(text: str, count: int) -> bool:
    """Whether a text has exactly so many numbered and distinct items."""
    found = re.findall(r"^(\d+)\. (.+)$", text, re.MULTILINE)
    items = {item.strip(" .").lower() for _, item in found}
    return [int(n) for n, _ in found] == list(range(1, count + 1)) and len(items) == count


def lists(count: int, seed: int = 23) -> list[Case]:
    """Lists of two to ten items of every kind that is taught."""
    rng = random.Random(seed)
    kinds = [aliases for aliases, _ in LISTS + WORDS]
    cases = [Case("List 5 Python best practices.", lambda text: is_list(text, 5))]
    while len(cases) < count:
        n = rng.randint(2, 10)
        shown = NUMBER_WORDS[n] if rng.random() < 0.25 else str(n)
        ask = rng.choice(ASK_LISTS).replace("{x}", rng.choice(rng.choice(kinds)))
        cases.append(Case(ask.replace("{n}", shown), lambda text, n=n: is_list(text, n)))
    return cases


def untaught() -> list[Case]:
    """The held-out questions; right is to say that it does not know."""
    lines = (DATA / "heldout.txt").read_text("utf-8").splitlines()
    return [Case(line, lambda text: bool(UNSURE.search(text))) for line in lines if line]


def taught(count: int, seed: int = 24) -> list[Case]:
    """Topics it was taught; right is an answer that shares most words with the definition."""
    rng = random.Random(seed)
    cases = []
    for _ in range(count):
        topic = rng.choice(EXPLAIN)
        want = set(expand(topic.definition, random.Random(0)).lower().split())
        ask = rng.choice(["What is {t}?", "Explain {t}.", "Tell me about {t}.", "explain {t}"])

        def right(text: str, want: set[str] = want) -> bool:
            return len(want & set(text.lower().split())) > 0.6 * len(want)

        cases.append(Case(ask.replace("{t}", rng.choice(topic.aliases)), right))
    return cases


def capitals() -> list[Case]:
    """Every capital city it was taught."""
    return [
        Case(f"What is the capital of {country}?", lambda text, city=city: city in text)
        for country, city in CAPITALS.items()
    ]


def exactness(count: int = 120) -> dict[str, list[Case]]:
    """All checks by name."""
    return {
        "counts and stops where asked": counting(count),
        "sum of two digits": sums(),
        "list of exactly N distinct items": lists(count),
        "says that it does not know (held-out questions)": untaught(),
        "explains what it was taught": taught(100),
        "capital city": capitals(),
    }
