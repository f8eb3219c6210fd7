"""Sequences, sums, capital cities and other small facts."""

from __future__ import annotations

import random

from grammar import capital, pairs, words
from scenes_focus import count_numbers, small_sum
from sources import (
    CAPITALS,
    FACTS,
    SEQUENCES,
    Turn,
)


def counting(rng: random.Random) -> Turn:
    """Counting up or down, and well-known sequences."""
    if rng.random() < 0.75:
        return count_numbers(rng)
    name = rng.choice(list(SEQUENCES))
    items = words(SEQUENCES[name])
    ask = rng.choice(
        [
            "What are the {n}?",
            "List the {n}.",
            "Name the {n}.",
            "Tell me the {n}.",
            "List the {n}",
            "name the {n}",
        ]
    )
    text = ", ".join(items)
    if rng.random() < 0.4 and "alphabet" not in name:
        text = f"The {name} are " + ", ".join(items[:-1]) + f" and {items[-1]}."
    return ask.replace("{n}", name), text


def arithmetic(rng: random.Random) -> Turn:
    """A sum, a difference or a product of small numbers."""
    if rng.random() < 0.5:
        return small_sum(rng)
    kind = rng.choice(["+", "+", "-", "*"])
    top = 12 if kind == "*" else rng.choice([10, 10, 20, 50])
    a, b = rng.randint(0, top), rng.randint(0, top)
    if kind == "-":
        a, b = max(a, b), min(a, b)
    value = a + b if kind == "+" else a - b if kind == "-" else a * b
    word = {"+": "plus", "-": "minus", "*": "times"}[kind]
    sign = rng.choice(["*", "x"]) if kind == "*" else kind
    body = rng.choice([f"{a} {word} {b}", f"{a} {sign} {b}", f"{a}{sign}{b}"])
    ask = rng.choice(
        [
            "What is {x}?",
            "what is {x}?",
            "What's {x}?",
            "{x}",
            "{x}=",
            "{x} = ?",
            "Calculate {x}.",
            "How much is {x}?",
            "Can you compute {x}?",
        ]
    ).replace("{x}", body)
    answer = rng.choice(
        [f"{a} {word} {b} is {value}.", f"{a} {word} {b} is {value}.", f"{a} {sign} {b} = {value}"]
    )
    return ask, answer


def capitals(rng: random.Random) -> list[Turn]:
    """Capital cities, sometimes with a follow-up about another country."""
    country, city = rng.choice(list(CAPITALS.items()))
    if rng.random() < 0.15:
        ask = rng.choice(
            [
                "Which country has the capital {c}?",
                "{c} is the capital of which country?",
                "Where is {c}?",
            ]
        )
        where = f"{city} is the capital of {country}."
        return [(ask.replace("{c}", city), where)]
    ask = rng.choice(
        [
            "What is the capital of {n}?",
            "What is the capital of {n}?",
            "what is the capital of {n}",
            "What's the capital of {n}?",
            "Capital of {n}?",
            "Tell me the capital of {n}.",
            "Name the capital of {n}.",
            "Which city is the capital of {n}?",
            "Do you know the capital of {n}?",
            "What is the capital city of {n}?",
        ]
    )
    answer = rng.choice(
        [f"The capital of {country} is {city}."] * 3 + [f"{city} is the capital of {country}."]
    )
    turns = [(ask.replace("{n}", country), answer)]
    while rng.random() < 0.3:
        country, city = rng.choice(list(CAPITALS.items()))
        ask = rng.choice(["And of {n}?", "And {n}?", "What about {n}?", "And the capital of {n}?"])
        turns.append((ask.replace("{n}", country), f"The capital of {country} is {city}."))
    return turns


def small_fact(rng: random.Random) -> Turn:
    """Opposites, colours, translations, animal sounds."""
    kind = rng.choice(["opposites", "colour_of", "translate", "translate", "animal_sound", "after"])
    if kind == "after":
        name = rng.choice(["days of the week", "months of the year"])
        items = words(SEQUENCES[name])
        i = rng.randrange(len(items))
        step, other = rng.choice([(1, "after"), (-1, "before")])
        noun = "day" if name.startswith("days") else "month"
        verb = "comes" if rng.random() < 0.5 else "is"
        return (
            f"Which {noun} {verb} {other} {items[i]}?",
            f"{items[(i + step) % len(items)]} comes {other} {items[i]}.",
        )
    key, value = rng.choice(list(pairs(FACTS[kind]).items()))
    if kind == "opposites":
        if rng.random() < 0.5:
            key, value = value, key
        ask = rng.choice(
            ["What is the opposite of {k}?", "Opposite of {k}?", "Tell me the opposite of {k}."]
        )
        return ask.replace("{k}", key), f"The opposite of {key} is {value}."
    if kind == "colour_of":
        ask = rng.choice(
            ["What colour is {k}?", "What color is {k}?", "Which colour does {k} have?"]
        )
        return ask.replace("{k}", key), f"{capital(key)} is {value}."
    if kind == "animal_sound":
        return f"What sound does {key} make?", f"{capital(key)} {value}."
    index, language = rng.choice(list(enumerate(["French", "Spanish", "German", "Italian"])))
    ask = rng.choice(
        [
            "How do you say {k} in {l}?",
            "Translate {k} into {l}.",
            'Translate "{k}" to {l}.',
            "What is {k} in {l}?",
        ]
    )
    word = value.split(",")[index]
    answer = rng.choice(
        [f'"{capital(key)}" in {language} is "{word}".', f'In {language} you say "{word}".']
    )
    return ask.replace("{k}", key).replace("{l}", language), answer
