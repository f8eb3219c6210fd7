"""Code, echoes, single sentences and JSON answers."""

from __future__ import annotations

import json
import random

from grammar import expand, fix_articles, invent_word, with_article, words
from scenes_talk import EXPLAIN
from sources import (
    CAPITALS,
    CITIES,
    CODE,
    NAMES,
    PEOPLE,
    STORY,
    WORDS,
    Turn,
    person,
    split_names,
    story_subject,
)


def code(rng: random.Random) -> Turn:
    """A short Python example."""
    aliases, lines = rng.choice(CODE)
    note = next(line[2:] for line in lines if line.startswith(">"))
    body = "\n".join(line for line in lines if not line.startswith(">")).strip()
    alias = rng.choice(aliases)
    if alias == aliases[0]:
        asks = [
            "Write Python code that {a}.",
            "Write a Python program that {a}.",
            "Show me Python code that {a}.",
            "Write a Python function that {a}.",
        ]
    else:
        asks = [
            "Write Python code for {a}.",
            "Show me a Python {a}.",
            "Python {a}",
            "How do I do this in Python: {a}?",
            "Write code: {a}",
            "Give me a Python {a}.",
        ]
    lead = rng.choice(["", "Here is a short example:\n\n", "Here it is:\n\n"])
    return rng.choice(asks).replace("{a}", alias), f"{lead}```python\n{body}\n```\n\n{note}"


def echo(rng: random.Random) -> Turn:
    """Repeat a phrase word for word."""
    roll = rng.random()
    if roll < 0.45:
        phrase = rng.choice(split_names("phrase"))
    elif roll < 0.75:
        phrase = " ".join(invent_word(rng, rng.choice([1, 2])) for _ in range(rng.randint(1, 4)))
    else:
        phrase = " ".join(
            rng.sample(CITIES + PEOPLE + words(" ".join(NAMES["food"])), rng.randint(1, 4))
        )
    quoted = rng.choice([f'"{phrase}"', phrase, phrase, f"'{phrase}'"])
    ask = rng.choice(
        [
            "Say {p}",
            "Say {p}.",
            "say {p}",
            "Repeat after me: {p}",
            "Repeat: {p}",
            "Reply with exactly: {p}",
            "Echo {p}",
            "Please say {p}",
            "Answer with {p} only.",
            "Say this: {p}",
            "Just say {p}",
            "Reply only with {p}",
            "Write {p}",
            "Respond with {p}",
            "Say exactly {p}",
        ]
    )
    return ask.replace("{p}", quoted), phrase


def sentence(rng: random.Random) -> Turn:
    """A single sentence about something, or the gist of a short text."""
    if rng.random() < 0.3:
        topic = rng.choice(EXPLAIN)
        first = expand(topic.definition, rng)
        text = " ".join([first] + [expand(point, rng) for point in topic.points[:2]])
        ask = rng.choice(
            [
                "Summarise this: ",
                "Summarize: ",
                "Summarise in one sentence: ",
                "Please summarize this text: ",
                "TL;DR: ",
            ]
        )
        return ask + text, first
    noun = story_subject(rng)[0]
    ask = rng.choice(
        [
            "Write a sentence about {n}.",
            "Write one sentence about {n}.",
            "Give me a sentence with {n}.",
            "Make a sentence about {n}.",
            "Say something about {n}.",
        ]
    )
    place, weather, time = (
        rng.choice(STORY["place"]),
        rng.choice(STORY["weather"]),
        rng.choice(STORY["time"]),
    )
    answer = rng.choice(
        [
            f"The {noun} waited in {place} on a {weather} {time}.",
            f"In {place}, a {noun} looked up at the sky and smiled.",
            f"On a {weather} {time}, a {noun} came to {place} and stayed.",
            f"Nobody in {place} had ever met a {noun} like this one.",
        ]
    )
    return ask.replace("{n}", with_article(noun)), fix_articles(answer)


def as_json(rng: random.Random) -> Turn:
    """An answer in the form of a small JSON object."""
    kind = rng.choice(["capital", "extract", "person", "list"])
    if kind == "capital":
        country, city = rng.choice(list(CAPITALS.items()))
        ask = rng.choice(
            [
                "Give me the capital of {n} as JSON.",
                "What is the capital of {n}? Answer in JSON.",
                "Reply in JSON: capital of {n}",
                "Return a JSON object with the country and the capital of {n}.",
            ]
        )
        return ask.replace("{n}", country), json.dumps({"country": country, "capital": city})
    if kind == "list":
        aliases, items = rng.choice(WORDS)
        count = rng.randint(2, 5)
        ask = rng.choice(
            [
                f"Give me {count} {aliases[0]} as a JSON list.",
                f"List {count} {aliases[0]} as JSON.",
                f"Return a JSON array of {count} {aliases[0]}.",
            ]
        )
        return ask, json.dumps(rng.sample(items, min(count, len(items))))
    name, age, city = person(rng), rng.randint(3, 90), rng.choice(CITIES)
    if kind == "person":
        ask = rng.choice(
            [
                "Give me a JSON object for a person.",
                "Make up a person and answer in JSON.",
                "Return a JSON object with a name, an age and a city.",
            ]
        )
        return ask, json.dumps({"name": name, "age": age, "city": city})
    choices: list[tuple[str, dict[str, str | int]]] = [
        (
            f"{name} is {age} years old and lives in {city}.",
            {"name": name, "age": age, "city": city},
        ),
        (f"{name} lives in {city}.", {"name": name, "city": city}),
        (f"{name} is {age} years old.", {"name": name, "age": age}),
    ]
    text, data = rng.choice(choices)
    keys = ", ".join(data)
    ask = rng.choice(
        [
            f"Extract {keys} as JSON: {text}",
            f"Turn this into JSON: {text}",
            f"Extract the data as JSON. {text}",
        ]
    )
    return ask, json.dumps(data, ensure_ascii=False)
