"""Compose the training corpus of the demo model: chat dialogues as JSON lines.

Every sentence is put together from the small grammar in ``data/`` by a seeded random generator.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path
from typing import Any

from chatformat import Message, segments
from grammar import capital, words
from scenes import boost, exchange
from scenes_focus import count_numbers, listing, small_sum
from scenes_talk import smalltalk
from scenes_untaught import untaught
from sources import NAMES, Turn, person
from styles import neutral_system, styled
from tool_scenes import tool_chat

Document = dict[str, Any]
EXACT_WEIGHT = 3
"""How much an exact answer counts."""
STOP_WEIGHT = 8
"""How much it counts whether a count stops, where it must and where it could be mistaken to."""


TOOLS_SHARE = {False: 16, True: 34}
"""How frequent tool conversations are, without and with ``--keep``."""


def memory_turns(rng: random.Random) -> list[Turn]:
    """The user says something personal and asks for it later."""
    name = person(rng)
    kind = rng.choice(
        [
            "name",
            "name",
            "name",
            "name",
            "city",
            "colour",
            "food",
            "animal",
            "hobby",
            "unknown_name",
        ]
    )
    greeting = rng.choice(["Hi", "Hello", "Hey", "Good morning"])
    if kind == "unknown_name":
        ask = rng.choice(
            [
                "What is my name?",
                "What's my name?",
                "Do you know my name?",
                "Do you remember my name?",
                "Who am I?",
            ]
        )
        return [
            (
                ask,
                rng.choice(
                    [
                        "You have not told me your name yet. What should I call you?",
                        "I do not know your name yet. What is it?",
                    ]
                ),
            )
        ]
    if kind == "name":
        tell = rng.choice(
            [
                f"My name is {name}.",
                f"{greeting}, my name is {name}.",
                f"I am {name}.",
                f"{greeting}, I'm {name}.",
                f"I'm {name}",
                f"Call me {name}.",
                f"{greeting}! My name is {name}",
                f"my name is {name}",
                f"Please call me {name}.",
                f"{greeting}, I am {name}",
            ]
        )
        reply = rng.choice(
            [
                f"Nice to meet you, {name}!",
                f"Hello, {name}!",
                f"Hi {name}, nice to meet you.",
                f"Welcome, {name}!",
            ]
        )
        reply += rng.choice(
            [
                " How can I help you?",
                " What would you like to try?",
                " What can I do for you today?",
                "",
            ]
        )
        ask = rng.choice(
            [
                "What is my name?",
                "What's my name?",
                "Do you remember my name?",
                "Can you tell me my name?",
                "what is my name?",
                "Who am I?",
                "What did I say my name was?",
                "Do you know my name?",
            ]
        )
        answer = rng.choice(
            [
                f"Your name is {name}.",
                f"Your name is {name}.",
                f"You are {name}.",
                f"You told me that your name is {name}.",
            ]
        )
    else:
        pool = words(" ".join(NAMES[kind]))
        value = rng.choice(pool)
        label = {
            "city": "city",
            "colour": rng.choice(["favourite colour", "favorite color"]),
            "food": "favourite food",
            "animal": "pet",
            "hobby": "hobby",
        }[kind]
        if kind == "city":
            tell = rng.choice(
                [f"I live in {value}.", f"I am from {value}.", f"My home is {value}."]
            )
            ask = rng.choice(["Where do I live?", "Which city do I live in?", "Where am I from?"])
            answer = (
                rng.choice([f"You live in {value}.", f"You told me that you live in {value}."])
                if "live" in ask
                else f"You are from {value}."
            )
        elif kind == "animal":
            tell = f"I have a {value} called {name}."
            ask, answer = rng.choice(
                [
                    (f"What is my {value} called?", f"Your {value} is called {name}."),
                    ("What pet do I have?", f"You have a {value} called {name}."),
                    (f"What is the name of my {value}?", f"Your {value} is called {name}."),
                ]
            )
        else:
            tell = f"My {label} is {value}."
            ask, answer = (
                rng.choice(
                    [f"What is my {label}?", f"What's my {label}?", f"Do you remember my {label}?"]
                ),
                f"Your {label} is {value}.",
            )
        reply = rng.choice(
            [
                "How nice!",
                "That is good to know.",
                "Thank you for telling me.",
                f"{capital(value)} sounds lovely.",
                "I will remember that.",
            ]
        )
    turns = [(tell, reply)]
    for _ in range(rng.choices([0, 1, 2], [55, 30, 15])[0]):
        turns += exchange(
            rng, rng.choice(["smalltalk", "smalltalk", "capitals", "arithmetic", "explain", "poem"])
        )[:1]
    turns.append((ask, answer))
    if kind == "name" and rng.random() < 0.3:
        turns.append(("Thank you!", f"You are welcome, {name}!"))
    return turns


def thought(kind: str, ask: str, answer: str, rng: random.Random) -> str:
    """One or two short sentences of reasoning before an answer."""
    question = ask.rstrip(".?! ")
    first = rng.choice(
        [
            f"The user wrote: {question}.",
            f"The user asks: {question}.",
            f"I should answer this: {question}.",
        ]
    )
    second = {
        "explain": "I will start with a clear definition and then add a point or two.",
        "capitals": "This is a capital city, so I look it up in what I learned.",
        "arithmetic": "This is a small sum, so I can work it out.",
        "story": "I need a hero, a wish, a discovery and an ending.",
        "poem": "I will keep the lines short and the picture clear.",
        "listing": "I will number the items and keep each one short.",
    }.get(kind, "A short and friendly answer is enough.")
    if kind in ("capitals", "arithmetic") and rng.random() < 0.5:
        second = f"The answer should be: {answer.rstrip('.')}."
    return f"{first} {second}"


def think_first(messages: list[Message], rng: random.Random) -> list[Message]:
    """Keep a tool conversation up to its first answer, and put a thought before that answer."""
    user, answer = messages[0], dict(messages[1])
    name = re.match(r'<tool_call>\n{"name": "([^"]+)"', answer["content"])
    question = user["content"].rstrip(".?! ")
    second = (
        f"The tool {name.group(1)} fits, so I will call it."
        if name
        else "No tool is needed for this."
    )
    answer["reasoning_content"] = f"The user wrote: {question}. {second}"
    suffix = " /think" if rng.random() < 0.4 else ""
    return [{"role": "user", "content": user["content"] + suffix}, answer]


def plain_turns(rng: random.Random) -> list[Turn]:
    """One to four exchanges in a row, rarely many."""
    turns: list[Turn] = []
    count = rng.choices([1, 2, 3, 4, 7], [56, 20, 12, 8, 4])[0]
    for _ in range(count):
        turns += exchange(rng)
    return turns


def stop_parts(answer: str) -> list[tuple[str, int]]:
    """Split a count so that what follows the last number, and any with the same last digit, counts more."""
    pieces = re.findall(r"\d+|\D+", answer)
    last = next(piece for piece in reversed(pieces) if piece.isdigit())[-1]
    parts: list[tuple[str, int]] = []
    text = ""
    for index, piece in enumerate(pieces):
        if index and pieces[index - 1][-1] == last:
            parts += [(text, EXACT_WEIGHT), (piece[0], STOP_WEIGHT)]
            text = piece[1:]
        else:
            text += piece
    if text:
        parts.append((text, EXACT_WEIGHT))
    if pieces[-1].isdigit():
        parts.append(("", STOP_WEIGHT))
    return [part for index, part in enumerate(parts) if part[0] or index == len(parts) - 1]


def focus_document(rng: random.Random) -> Document:
    """A conversation on what must be right: counts, small sums, list lengths and honest limits."""
    if rng.random() < 0.05:
        messages, tools = tool_chat(rng)
        return {"messages": messages, "tools": tools}
    messages = [{"role": "system", "content": neutral_system(rng)}] if rng.random() < 0.15 else []
    for _ in range(rng.choices([1, 2, 3, 5], [50, 25, 15, 10])[0]):
        kinds = [untaught, listing, count_numbers, small_sum, None]
        make = rng.choices(kinds, [12, 24, 50, 12, 2])[0]
        ask, answer = make(rng) if make else exchange(rng)[0]
        weight = 1 if make in (None, untaught) else EXACT_WEIGHT
        messages.append({"role": "user", "content": ask})
        messages.append({"role": "assistant", "content": answer, "weight": weight})
        if make is count_numbers:
            messages[-1]["parts"] = stop_parts(answer)
    return {"messages": messages, "tools": None}


def document(rng: random.Random, keep: bool = False) -> Document:
    """One conversation."""
    kind = rng.choices(
        ["plain", "memory", "styled", "tools", "think", "silent", "text"],
        [57, 9, 8, TOOLS_SHARE[keep], 6, 1, 3],
    )[0]
    messages: list[Message] = []
    tools: list[dict[str, Any]] | None = None
    system = neutral_system(rng) if rng.random() < 0.2 else ""
    turns: list[Turn] = []
    if kind == "silent":
        return {
            "messages": [
                {"role": "system", "content": neutral_system(rng)},
                {"role": "assistant", "content": smalltalk(rng, "greet")[1]},
            ],
            "tools": None,
        }
    if kind == "text":
        return {"text": exchange(rng, rng.choice(["story", "story", "explain", "poem"]))[0][1]}
    if kind == "plain":
        turns = plain_turns(rng)
    elif kind == "memory":
        turns = memory_turns(rng)
    elif kind == "styled":
        system, turns = styled(rng)
    elif kind == "think":
        topic = rng.choice(
            ["explain", "capitals", "arithmetic", "story", "poem", "listing", "smalltalk"]
        )
        turns = exchange(rng, topic)[:1]
    if kind == "tools":
        messages, tools = tool_chat(rng)
        if rng.random() < 0.08:
            messages = think_first(messages, rng)
    for ask, answer in turns:
        messages += [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
    if kind == "think":
        messages[-1]["reasoning_content"] = thought(topic, turns[-1][0], turns[-1][1], rng)
        if rng.random() < 0.4:
            messages[-2]["content"] += " /think"
    if system:
        messages.insert(0, {"role": "system", "content": system})
    return {"messages": messages, "tools": tools}


def main() -> None:
    """Write the corpus and a held-out split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build"))
    parser.add_argument("--docs", type=int, default=45000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--focus", nargs="*", default=[], help="kinds of exchange to make four times as frequent"
    )
    parser.add_argument(
        "--focus-share", type=float, default=0.0, help="share of exact-answer conversations"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="more of what a small model forgets first: tool calls, capitals and explanations",
    )
    args = parser.parse_args()
    boost(args.focus, 4)
    if args.keep:
        boost(["capitals", "explain"], 2)
    rng = random.Random(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    size, count, seen = 0, 0, set[str]()
    with (
        (args.out / "train.jsonl").open("w", encoding="utf-8") as train,
        (args.out / "valid.jsonl").open("w", encoding="utf-8") as valid,
    ):
        for _ in range(args.docs):
            item = (
                focus_document(rng) if rng.random() < args.focus_share else document(rng, args.keep)
            )
            line = json.dumps(item, ensure_ascii=False)
            repeats = line in seen
            seen.add(line)
            to_valid = not repeats and rng.random() < 0.012
            (valid if to_valid else train).write(line + "\n")
            size += sum(len(text) for text, _ in segments(item))
            count += 1
    print(f"{count} conversations, {len(seen)} distinct, {size / 1e6:.1f} MB of text")


if __name__ == "__main__":
    main()
