"""Lists, counting, sums, capital cities and other small facts."""

from __future__ import annotations

import random

from grammar import capital, choose_inline, pairs, words
from sources import (
    CAPITALS,
    FACTS,
    LISTS,
    NUMBER_WORDS,
    SEQUENCES,
    WORDS,
    Turn,
)


def listing(rng: random.Random) -> Turn:
    """A numbered list of a given length."""
    if rng.random() < 0.55:
        aliases, items = rng.choice(LISTS if rng.random() < 0.7 else LISTS[:4])
        count = rng.randint(3, min(7, len(items)))
        name = rng.choice(aliases)
        chosen = rng.sample([item for item in items if item], count)
        ask = choose_inline(
            "[List|Give me|Tell me|list|Name|Write|Please list] {n} "
            + name
            + rng.choice(["", ".", "."]),
            rng,
        )
    else:
        aliases, items = rng.choice(WORDS)
        count = rng.randint(2, min(10, len(items)))
        name = rng.choice(aliases)
        chosen = [capital(item) for item in rng.sample(items, count)]
        ask = choose_inline(
            "[List|Name|Give me|Tell me|name|Please name|Write down] {n} "
            + name
            + rng.choice(["", ".", "."]),
            rng,
        )
    number = str(count) if rng.random() < 0.65 else NUMBER_WORDS[count]
    lead = rng.choice(["", "", f"Here are {NUMBER_WORDS[count]} {name.removeprefix('the ')}:\n\n"])
    body = "\n".join(f"{i}. {item}" for i, item in enumerate(chosen, 1))
    return ask.replace("{n}", number).replace(f"{number} the ", f"{number} "), lead + body


def counting(rng: random.Random) -> Turn:
    """Counting up or down, and well-known sequences."""
    roll = rng.random()
    if roll < 0.6:
        start = 1 if rng.random() < 0.7 else rng.randint(0, 60)
        end = (
            start + rng.choice([2, 4, 9, 9, 11, 14, 19, 19, 29, 39, 49])
            if rng.random() < 0.75
            else rng.choice([30, 50, 100])
        )
        end = min(max(end, start + 2), 100)
        numbers = [str(n) for n in range(start, end + 1)]
        ask = rng.choice(
            [
                "Count from {a} to {b}.",
                "Count from {a} to {b}",
                "count from {a} to {b}",
                "Please count from {a} to {b}.",
                "Can you count from {a} to {b}?",
            ]
        )
        if start == 1 and rng.random() < 0.3:
            ask = rng.choice(
                ["Count to {b}.", "Count to {b}", "count to {b}", "Can you count to {b}?"]
            )
        ask = ask.replace("{a}", str(start)).replace("{b}", str(end))
        separator = rng.choice([", ", ", ", "\n"])
        rng.random()  # an unused draw: it keeps the corpus the same as that of the released model
        return ask, separator.join(numbers)
    if roll < 0.75:
        start = rng.choice([3, 5, 10, 10, 10, 20])
        ask = rng.choice(
            ["Count down from {a}.", "Count down from {a} to 1.", "Count backwards from {a}."]
        )
        return ask.replace("{a}", str(start)), ", ".join(str(n) for n in range(start, 0, -1))
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
