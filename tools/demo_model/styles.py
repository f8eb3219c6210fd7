"""System prompts, neutral ones and ones that ask for a style."""

from __future__ import annotations

import random
import re

from grammar import words
from scenes import exchange
from sources import Turn, person

ASSISTANT_SYSTEMS = [
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "You are a friendly assistant.",
    "You are a helpful and honest assistant.",
    "You are the Penstock demo model.",
    "Be helpful.",
    "Be kind and clear.",
    "You are an assistant that answers questions.",
    "Answer the user's questions.",
    "You are a chat assistant running in a gateway.",
]
PIRATE_SYSTEMS = [
    "You are a pirate.",
    "Talk like a pirate.",
    "You are a pirate captain. Answer like a pirate.",
    "Speak like a pirate.",
    "You are a friendly pirate.",
    "Respond as a pirate.",
    "You are a helpful assistant who talks like a pirate.",
]
BRIEF_SYSTEMS = [
    "Answer briefly.",
    "Be brief.",
    "You are a concise assistant.",
    "Answer in one sentence.",
    "Keep your answers short.",
    "Reply in one short sentence.",
    "Be concise.",
    "You are a helpful assistant. Answer briefly.",
]
ROBOT_SYSTEMS = [
    "You are a robot.",
    "Talk like a robot.",
    "You are a cheerful robot.",
    "Answer like a robot.",
]
BUTLER_SYSTEMS = [
    "You are a polite butler.",
    "Answer like a butler.",
    "You are a very formal assistant.",
    "Be very polite.",
]
CHEER_SYSTEMS = [
    "You are very enthusiastic.",
    "Be very cheerful.",
    "You are an excited assistant.",
    "Answer with great enthusiasm.",
]
EXTRA_SYSTEMS = [
    "Be polite.",
    "Do not make things up.",
    "Answer in English.",
    "Use simple words.",
    "Help the user with their questions.",
    "If you do not know something, say so.",
    "Never share private data.",
    "Be accurate.",
    "Think before you answer.",
    "The user likes short stories.",
    "You run behind a gateway.",
    "Use the tools when they are useful.",
    "Stay on topic.",
    "Follow the instructions of the user.",
    "You were made for a demo.",
    "Write in plain text.",
    "Be patient.",
    "Respond in a clear way.",
]
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
TOPIC_KINDS = ["explain", "capitals", "smalltalk", "small_fact", "arithmetic", "listing", "story"]


def neutral_system(rng: random.Random) -> str:
    """A system prompt that does not change the answers."""
    text = rng.choice(ASSISTANT_SYSTEMS)
    if rng.random() < 0.5:
        extra = rng.sample(EXTRA_SYSTEMS, rng.randint(1, 4)) + (
            [f"Today is {rng.choice(DAYS)}."] if rng.random() < 0.3 else []
        )
        rng.shuffle(extra)
        text = " ".join([text, *extra])
    return text


def first_sentence(text: str) -> str:
    """The first sentence of the first paragraph."""
    return re.split(r"(?<=[.!?]) ", text.split("\n")[0])[0]


def pirate(text: str, rng: random.Random) -> str:
    """Rewrite a text in pirate speech."""
    swaps = {
        "you": "ye",
        "your": "yer",
        "You": "Ye",
        "Your": "Yer",
        "my": "me",
        "My": "Me",
        "Hello": "Ahoy",
        "friend": "matey",
        "is": "be",
        "are": "be",
        "am": "be",
    }
    text = re.sub(r"\b(" + "|".join(swaps) + r")\b", lambda m: swaps[m.group(1)], text)
    start = rng.choice(["Arr! ", "Ahoy, matey! ", "Aye aye! ", "Yo ho ho! ", "Shiver me timbers! "])
    end = rng.choice(["", " Arr!", " Yo ho!", " Now pass me the map, matey."])
    return start + text + end


def styled(rng: random.Random) -> tuple[str, list[Turn]]:
    """A system prompt that asks for a style, and turns that follow it."""
    turns = [
        turn
        for _ in range(rng.choice([1, 1, 2]))
        for turn in exchange(rng, rng.choice(TOPIC_KINDS))
    ]
    kind = rng.choice(
        [
            "pirate",
            "pirate",
            "brief",
            "brief",
            "robot",
            "butler",
            "cheer",
            "prefix",
            "suffix",
            "persona",
            "persona",
        ]
    )
    if kind == "pirate":
        return rng.choice(PIRATE_SYSTEMS), [(ask, pirate(answer, rng)) for ask, answer in turns]
    if kind == "brief":
        return rng.choice(BRIEF_SYSTEMS), [
            (ask, answer if answer.startswith("1.") else first_sentence(answer))
            for ask, answer in turns
        ]
    if kind == "robot":
        return rng.choice(ROBOT_SYSTEMS), [
            (
                ask,
                rng.choice(["Beep boop. ", "Beep. ", "Bzzt. "])
                + answer
                + rng.choice([" Beep.", " End of message."]),
            )
            for ask, answer in turns
        ]
    if kind == "butler":
        return rng.choice(BUTLER_SYSTEMS), [
            (
                ask,
                rng.choice(["Certainly. ", "With the greatest pleasure. ", "Of course. "])
                + answer
                + rng.choice([" At your service.", " May I be of further assistance?"]),
            )
            for ask, answer in turns
        ]
    if kind == "cheer":
        return rng.choice(CHEER_SYSTEMS), [
            (
                ask,
                rng.choice(["Wow, great question! ", "Yay! ", "How exciting! "])
                + answer.replace(".", "!"),
            )
            for ask, answer in turns
            if "```" not in answer
        ]
    if kind == "persona":
        name = person(rng)
        system = rng.choice(
            [
                f"You are {name}, a helpful assistant.",
                f"Your name is {name}.",
                f"You are called {name}.",
                f"You are {name}, a friendly chat bot.",
                f"You are an assistant named {name}.",
            ]
        )
        ask = rng.choice(
            [
                "Who are you?",
                "What is your name?",
                "What's your name?",
                "who are you?",
                "Introduce yourself.",
                "Hello, who are you?",
            ]
        )
        answer = rng.choice(
            [f"I am {name}.", f"My name is {name}.", f"You can call me {name}."]
        ) + rng.choice(
            [
                " Underneath I am the Penstock demo model, a tiny language model.",
                " How can I help you?",
                " I run on the small Penstock demo model.",
            ]
        )
        intro = [(ask, answer)]
        return system, intro + turns[:1] if rng.random() < 0.5 else turns[:1] + intro
    word = rng.choice(
        [person(rng), "Ahoy", "Well", "Indeed", "Hooray", "Meow", "Aha", "Namaste", "Bonjour"]
    )
    if kind == "prefix":
        system = rng.choice(
            [
                f"Begin every answer with {word}.",
                f"Start each reply with the word {word}.",
                f'Always start with "{word}".',
            ]
        )
        return system, [(ask, f"{word}! {answer}") for ask, answer in turns]
    system = rng.choice(
        [
            f"End every answer with {word}.",
            f"Finish each reply with the word {word}.",
            f'Always end with "{word}".',
        ]
    )
    return system, [(ask, f"{answer} {word}!") for ask, answer in turns]
