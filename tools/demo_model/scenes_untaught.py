"""Honest answers to questions about things the demo model was never taught."""

from __future__ import annotations

import random

from grammar import DATA, capital, choose_inline, expand, invent_word, read_rules
from scenes_talk import EXPLAIN
from sources import CITIES, LISTS, WORDS, Turn, person

RULES = read_rules("untaught.txt")
TAUGHT = {alias.lower() for topic in EXPLAIN for alias in topic.aliases}
TAUGHT |= {alias.lower() for aliases, _ in LISTS + WORDS for alias in aliases}
HELD_OUT = {line.lower() for line in (DATA / "heldout.txt").read_text("utf-8").splitlines()}


def bars(key: str) -> list[str]:
    """The entries of a section whose lines are separated by bars."""
    return [item for line in RULES[key] for item in line.split("|") if item.lower() not in TAUGHT]


LISTED = {
    key: bars(key)
    for key in [
        "topic",
        "place",
        "country",
        "task",
        "made",
        "work",
        "role",
        "kind",
        "unit",
        "adj",
        "noun",
        "happen",
    ]
}


def strange(rng: random.Random) -> str:
    """A topic with a name that nobody knows."""
    word = invent_word(rng, rng.choice([1, 2, 2, 3]))
    return rng.choice(
        [
            word,
            capital(word),
            f"a {word}",
            f"{word}s",
            f"the {word} of {rng.choice(CITIES)}",
            f"{word} {invent_word(rng)}",
            f"the {rng.choice(LISTED['noun'])} of {capital(word)}",
            f"{word} and {rng.choice(LISTED['topic'])}",
        ]
    )


def topic(rng: random.Random) -> str:
    """Something the model was not taught."""
    roll = rng.random()
    if roll < 0.2:
        return strange(rng)
    if roll < 0.28:
        return f"the history of {rng.choice(LISTED['topic'])}"
    return rng.choice(LISTED["topic"])


def context(rng: random.Random) -> dict[str, str]:
    """A value for every slot of a question."""
    values = {key: rng.choice(items) for key, items in LISTED.items()}
    values |= {
        "topic": topic(rng),
        "topic2": topic(rng),
        "why": choose_inline(rng.choice(choose_why()), rng),
        "digit": str(rng.randint(2, 9)),
        "big": str(rng.randint(20, 9999)),
        "word": rng.choice(
            [invent_word(rng), rng.choice(LISTED["noun"]), rng.choice(LISTED["adj"])]
        ),
        "person": person(rng) + " " + capital(invent_word(rng)),
        "count": rng.choice(["two", "three", "four", "five", "six", "seven", *"23456789", "10"]),
    }
    if rng.random() < 0.15:
        values["place"] = values["country"] = capital(invent_word(rng, rng.choice([2, 3])))
    return values


def choose_why() -> list[str]:
    """The endings of questions that begin with why; bars within brackets do not separate them."""
    return [part for line in RULES["why"] for part in split_outside(line)]


def split_outside(line: str) -> list[str]:
    """Split at the bars outside of brackets."""
    parts, depth = [""], 0
    for letter in line:
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def untaught(rng: random.Random) -> Turn:
    """A question outside the demo domain, and the answer that the model does not know."""
    while True:
        if rng.random() < 0.4:
            subject = topic(rng)
            ask = expand(rng.choice(RULES["ask"]), rng, {"u": subject})
        else:
            ask = expand(rng.choice(RULES["question"]), rng, context(rng))
        if ask.lower() not in HELD_OUT:
            break
    ask = ask if rng.random() < 0.1 else capital(ask)
    if rng.random() < 0.12:
        ask = ask.rstrip(".?")
    rule = "short" if rng.random() < 0.1 else "reply"
    return ask, expand(rng.choice(RULES[rule]), rng)
