"""Exchanges that must be exactly right: counting, one-digit sums, and lists of a given length."""

from __future__ import annotations

import random

from grammar import capital, choose_inline
from sources import LISTS, NUMBER_WORDS, WORDS, Turn

ASK_LIST = [
    "[List|list] {n} {name}",
    "[Give me|Tell me|Name|name|Write|Write down|Show me] {n} {name}",
    "[Please list|Please name|Please give me|Can you list|Can you name|Could you give me] {n} {name}",
    "[What are|Do you know|I need|I want|I would like] {n} {name}",
    "Make a list of {n} {name}",
    "Write a list of {n} {name}",
    "[Think of|Come up with|Suggest] {n} {name}",
    "{n} {name}[| please]",
]
ASK_COUNT = [
    "[Count|count|Please count|Now count|Count up] from {a} to {b}",
    "[Count|count] from {a} to {b}[| please|, please]",
    "[Can|Could] you count from {a} to {b}",
    "[List|Write|Give me|Say|Show me] the numbers from {a} to {b}",
    "[I want you to|Please] count from {a} up to {b}",
    "Start at {a} and count to {b}",
    "Numbers from {a} to {b}",
]
ASK_COUNT_TO = [
    "[Count|count|Please count|Now count|Count up] to {b}",
    "[Count|count] to {b}[| please|, please]",
    "[Can|Could] you count to {b}",
    "Count for me to {b}",
    "Let us count to {b}",
]
ASK_DOWN = [
    "[Count|count|Please count|Can you count] down from {a} to {b}",
    "[Count|count|Please count|Can you count] backwards from {a} to {b}",
    "[Do|Start] a countdown from {a} to {b}",
]
ASK_DOWN_ONE = [
    "[Count|count|Please count|Can you count] down from {a}",
    "[Count|count|Please count] backwards from {a}",
    "[Do|Start] a countdown from {a}",
]
ASK_SUM = [
    "[What is|what is|What's|How much is|Calculate|Compute|Add|Work out|Tell me] {x}",
    "[What does|How much does] {x} make",
    "[Can you compute|Can you tell me|Do you know] {x}",
    "[Please calculate|Please compute] {x}",
    "{x}",
    "{x} =",
    "{x} = ?",
    "{x}=",
    "What do you get for {x}",
    "[The sum|the sum|What is the sum] of {a} and {b}",
    "[Add|add|Please add] {a} and {b}",
    "[Add|add] {a} to {b}",
    "If I have {a} [apples|coins|books|pens] and get {b} more, how many do I have",
    "Solve {x}",
    "[Quick|Quick question|Hey|Hello]: {x}",
]
QUESTIONS = ("Can", "Could", "What", "what", "How", "Do you", "If I")


def punctuate(ask: str, rng: random.Random) -> str:
    """End a request as people do: properly, or not at all."""
    mark = "?" if ask.startswith(QUESTIONS) else "."
    return ask if ask[-1] in "?=" or rng.random() < 0.35 else ask + mark


def number(value: int, rng: random.Random, share: float = 0.15) -> str:
    """A number in digits, small ones sometimes in words."""
    return NUMBER_WORDS[value] if value <= 12 and rng.random() < share else str(value)


def listing(rng: random.Random) -> Turn:
    """A numbered list of a given length.

    The items follow their order in the data file from a random start. Each item then decides the
    next one, so that a small model neither repeats one nor loses count of what it has named.
    """
    long = rng.random() < 0.35
    aliases, lines = rng.choice(LISTS if long else WORDS)
    items = [capital(item) for item in lines if item]
    name = rng.choice(aliases)
    count = rng.randint(2, 10)
    start = rng.randrange(len(items))
    chosen = [items[(start + i) % len(items)] for i in range(count)]
    ask = choose_inline(rng.choice(ASK_LIST), rng)
    ask = ask.replace("{n}", number(count, rng, 0.35)).replace("{name}", name)
    lead = f"Here are {NUMBER_WORDS[count]} {name}:\n\n" if rng.random() < 0.1 else ""
    body = "\n".join(f"{i}. {item}" for i, item in enumerate(chosen, 1))
    return punctuate(capital(ask) if rng.random() < 0.7 else ask, rng), lead + body


def count_range(rng: random.Random) -> tuple[int, int]:
    """Where to start and to end; every length up to thirty is about as frequent as any other."""
    start = 1 if rng.random() < 0.55 else rng.randint(0, rng.choice([20, 20, 60]))
    length = rng.randint(1, rng.choice([10, 30, 30, 30]))
    if rng.random() < 0.01:
        length = rng.randint(30, 99)
    return start, min(start + length, 100)


def count_numbers(rng: random.Random) -> Turn:
    """Count up or down, and stop at the number asked for."""
    if rng.random() < 0.28:
        start = (
            rng.randint(2, rng.choice([10, 20, 20])) if rng.random() < 0.9 else rng.randint(20, 30)
        )
        end = rng.choice([1, 1, 1, 0, rng.randint(0, start - 1)])
        asks = ASK_DOWN_ONE if end == 1 and rng.random() < 0.6 else ASK_DOWN
        numbers = range(start, end - 1, -1)
    else:
        start, end = count_range(rng)
        asks = ASK_COUNT_TO if start == 1 and rng.random() < 0.45 else ASK_COUNT
        numbers = range(start, end + 1)
    ask = choose_inline(rng.choice(asks), rng)
    ask = ask.replace("{a}", number(start, rng, 0.08)).replace("{b}", number(end, rng, 0.08))
    separator = ", "
    if rng.random() < 0.06:
        ask, separator = ask + rng.choice([", one per line", ", each on its own line"]), "\n"
    ask = punctuate(ask, rng)
    # The end mirrors the request: what follows the last number there follows it here.
    stop = "." if ask.endswith(f"{numbers[-1]}.") else ""
    return ask, separator.join(map(str, numbers)) + stop


def small_sum(rng: random.Random) -> Turn:
    """The sum of two digits, rarely a difference or a product."""
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    sign, word = "+", "plus"
    if (roll := rng.random()) < 0.25:
        a, b = rng.randint(0, 12), rng.randint(0, 12)
        sign, word = ("*", "times") if roll < 0.18 else ("-", "minus")
        if sign == "-":
            a, b = max(a, b), min(a, b)
    value = a + b if sign == "+" else a - b if sign == "-" else a * b
    asks = ASK_SUM if sign == "+" else [ask for ask in ASK_SUM if "{x}" in ask and "Add" not in ask]
    shown = rng.choice([f"{a} {sign} {b}", f"{a} {sign} {b}", f"{a} {word} {b}", f"{a}{sign}{b}"])
    if max(a, b) <= 12 and rng.random() < 0.08:
        shown = f"{NUMBER_WORDS[a]} {word} {NUMBER_WORDS[b]}"
    ask = choose_inline(rng.choice(asks), rng)
    ask = ask.replace("{x}", shown).replace("{a}", str(a)).replace("{b}", str(b))
    return punctuate(ask, rng), f"{a} {sign} {b} = {value}"
