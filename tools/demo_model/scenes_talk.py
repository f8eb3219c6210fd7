"""Small talk, stories, poems and explanations."""

from __future__ import annotations

import random
import re

from grammar import Context, capital, expand, read_blocks, with_article
from sources import (
    CITIES,
    POEM,
    PRONOUNS,
    SMALLTALK,
    STORY,
    Turn,
    person,
    split_names,
    story_subject,
)


def smalltalk(rng: random.Random, intent: str | None = None) -> Turn:
    """One of the small-talk intents."""
    lines = SMALLTALK[intent or rng.choice(list(SMALLTALK))]
    ask = expand(rng.choice([line[2:] for line in lines if line.startswith("?")]), rng)
    answers = [line[2:] for line in lines if line.startswith("=")]
    if ask.endswith("?") and rng.random() < 0.15:
        ask = ask[:-1]
    return ask, expand(rng.choice(answers), rng)


def story_text(rng: random.Random, context: Context, length: str) -> str:
    """Compose a story sentence by sentence."""

    def say(rule: str) -> str:
        return capital(expand(rng.choice(STORY[rule]), rng, context))

    advice, helper = rng.choice(STORY["advice"]), rng.choice(STORY["helper"])
    context |= {"advice": advice, "helper": helper}
    if length == "short":
        plan = [["open", "wish", "find", rng.choice(["try", "progress"]), "learn"]]
    elif length == "chapter":
        plan = [
            ["again", "wish"],
            ["find", "react"],
            ["try", "help", "progress"],
            ["show", "learn", "end"],
        ]
    elif length == "long":
        plan = [
            ["open", "routine", "routine", "wish"],
            ["find", "react", "react"],
            ["try", "help", "progress"],
            ["show", "learn", "end"],
        ]
    else:
        plan = [["open", "routine", "wish"], ["find", "react", "try"]]
        plan.append(["help", "progress"] if rng.random() < 0.5 else ["progress", "show"])
        plan.append(["learn", "end"])
        if rng.random() < 0.4:
            plan[0].remove("routine")
    seen: set[str] = set()
    paragraphs = []
    for rules in plan:
        sentences = []
        for rule in rules:
            sentence = say(rule)
            if sentence not in seen:
                seen.add(sentence)
                sentences.append(sentence)
        paragraphs.append(" ".join(sentences))
    return "\n\n".join(paragraphs)


def story_theme(rng: random.Random) -> Context:
    """What the hero finds and learns."""
    theme, object1, object2, verb, verbing, result, lesson = rng.choice(STORY["theme"]).split("|")
    return {
        "theme": theme,
        "object": rng.choice([object1, object2]),
        "verb": verb,
        "verbing": verbing,
        "result": result,
        "lesson": lesson,
        "the_result": re.sub("^an? ", "the ", result),
        "weather": rng.choice(STORY["weather"]),
        "time": rng.choice(STORY["time"]),
        "where": rng.choice(STORY["where"]),
    }


def story(rng: random.Random) -> Turn:
    """A story on request, with or without a subject, a theme or a place."""
    noun, pronoun = story_subject(rng)
    they, their, themself, them = PRONOUNS[pronoun]
    name = rng.choice(STORY["name"]) if rng.random() < 0.8 else person(rng)
    context = story_theme(rng) | {
        "subj": noun,
        "a_subj": with_article(noun),
        "name": name,
        "they": they,
        "their": their,
        "themself": themself,
        "them": them,
        "place": rng.choice(STORY["place"]),
    }
    if rng.random() < 0.04:
        chapters = []
        for number in range(1, 4):
            text = story_text(rng, context, "long" if number == 1 else "chapter")
            chapters.append(f"Chapter {number}\n\n{text}")
            context |= story_theme(rng)
        return expand(rng.choice(STORY["ask_story_chapters"]), rng, context), "\n\n".join(chapters)
    kind = rng.choices(["", "_subj", "_theme", "_both", "_place"], [15, 40, 8, 32, 5])[0]
    ask = expand(rng.choice(STORY["ask_story" + kind]), rng, context)
    if rng.random() < 0.06:
        ask = ask.rstrip(".") + rng.choice([f" named {name}.", f" called {name}."])
    length = rng.choices(["short", "normal", "long"], [20, 60, 20])[0]
    if "short" in ask and length == "long":
        length = "normal"
    if length == "long" and rng.random() < 0.5:
        ask = ask.replace("a story", "a long story").replace("a short story", "a long story")
    text = story_text(rng, context, length)
    if rng.random() < 0.12:
        text = rng.choice(STORY["story_lead"]) + "\n\n" + text
    return ask, text


def poem_topic(rng: random.Random) -> str:
    """Anything a poem can be about."""
    roll = rng.random()
    if roll < 0.5:
        return rng.choice(POEM["topic_noun"])
    if roll < 0.75:
        return with_article(story_subject(rng)[0])
    return rng.choice(split_names("thing") + split_names("unknown") + CITIES)


def poem(rng: random.Random) -> Turn:
    """A haiku or a short rhyming poem."""
    themed = [key.split(":")[1] for key in POEM if key.startswith("haiku:")]
    if rng.random() < 0.55:
        known = rng.random() < 0.75
        topic = rng.choice(themed) if known else poem_topic(rng)
        key = f"haiku:{topic}"
        if key in POEM and rng.random() < 0.95:
            sources = [line.split("|") for line in POEM[key]]
            lines = [rng.choice(sources)[i] for i in range(3)]
        else:
            lines = rng.choice(POEM["haiku_any"]).replace("{topic}", topic).split("|")
        rule = "ask_haiku" if rng.random() < 0.88 else "ask_haiku_plain"
        return expand(rng.choice(POEM[rule]), rng, {"topic": topic}), "\n".join(map(capital, lines))
    special = [key.split(":")[1] for key in POEM if key.startswith("couplet:")]
    topic = rng.choice(special) if rng.random() < 0.5 else poem_topic(rng)
    own = [line.split("|") for line in POEM.get(f"couplet:{topic}", [])]
    about = [line.split("|") for line in POEM["couplet"]]
    general = [line.split("|") for line in POEM["couplet_any"]]
    chosen = rng.sample(own, min(len(own), 2)) or rng.sample(about, 1)
    chosen += rng.sample(general, rng.choice([1, 1, 2]))
    lines = [capital(line.replace("{topic}", topic)) for couplet in chosen for line in couplet]
    rule = "ask_poem" if rng.random() < 0.88 else "ask_poem_plain"
    return expand(rng.choice(POEM[rule]), rng, {"topic": topic}), "\n".join(lines)


class Topic:
    """An explanation topic with its sentences."""

    def __init__(self, aliases: list[str], lines: list[str]) -> None:
        self.aliases = aliases
        self.definition = next(line[2:] for line in lines if line.startswith("="))
        self.points = [line[2:] for line in lines if line.startswith("+")]
        self.examples = [line[2:] for line in lines if line.startswith(">")]

    def text(self, rng: random.Random, size: str) -> str:
        """The explanation as one or two paragraphs."""
        first = expand(self.definition, rng)
        if size == "one":
            return first
        count = (
            1
            if size == "brief"
            else len(self.points)
            if size == "full"
            else max(2, len(self.points) - 1)
        )
        chosen = sorted(rng.sample(range(len(self.points)), min(count, len(self.points))))
        body = [first] + [expand(self.points[i], rng) for i in chosen]
        text = " ".join(body)
        if self.examples and size != "brief" and rng.random() < 0.6:
            text += rng.choice([" ", "\n\n"]) + expand(self.examples[0], rng)
        return text


EXPLAIN = [Topic(aliases, lines) for aliases, lines in read_blocks("topics.txt")]
ASK_NORMAL = [
    "What is {t}?",
    "What is {t}",
    "what is {t}?",
    "What's {t}?",
    "Explain {t}.",
    "Explain {t}",
    "explain {t}",
    "Can you explain {t}?",
    "Please explain {t}.",
    "Tell me about {t}.",
    "Tell me about {t}",
    "Explain {t} in simple terms.",
    "Explain {t} in simple terms",
    "Explain {t} to a child.",
    "Could you tell me what {t} is?",
    "Describe {t}.",
    "How does {t} work?",
    "I do not understand {t}.",
    "What does {t} mean?",
    "Explain {t} to me like I am five.",
    "Give me a simple explanation of {t}.",
    "What do you know about {t}?",
    "Teach me about {t}.",
    "Why is {t} useful?",
    "Write a paragraph about {t}.",
    "What are {t}?",
    "What are {t}",
    "{t}",
    "{t}?",
    "How do {t} work?",
    "Explain the concept of {t}.",
    "Explain what {t} is.",
    "Explain how {t} works.",
    "Can you tell me about {t}?",
    "Help me understand {t}.",
    "What exactly is {t}?",
    "Please explain {t} in simple terms.",
    "I want to learn about {t}.",
]
ASK_ONE = [
    "Explain {t} in one sentence.",
    "What is {t}, in one sentence?",
    "In one sentence, what is {t}?",
    "Define {t}.",
    "Give me a definition of {t}.",
    "Explain {t} in one sentence",
]
ASK_BRIEF = [
    "Briefly explain {t}.",
    "Explain {t} briefly.",
    "Explain {t} in two sentences.",
    "In short, what is {t}?",
]
ASK_FULL = [
    "Explain {t} in detail.",
    "Tell me everything you know about {t}.",
    "Give me a long explanation of {t}.",
]


def explain(rng: random.Random) -> list[Turn]:
    """An explanation, sometimes with a follow-up question."""
    topic = rng.choice(EXPLAIN if rng.random() < 0.6 else EXPLAIN[:22])
    size = rng.choices(["normal", "one", "brief", "full"], [70, 10, 10, 10])[0]
    follow = rng.random() < 0.25
    if follow:
        size = rng.choice(["one", "brief"])
    asks = {"normal": ASK_NORMAL, "one": ASK_ONE, "brief": ASK_BRIEF, "full": ASK_FULL}[
        "normal" if follow else size
    ]
    ask = rng.choice(asks).replace("{t}", rng.choice(topic.aliases))
    turns = [(capital(ask) if rng.random() < 0.8 else ask, topic.text(rng, size))]
    if follow:
        if topic.examples and rng.random() < 0.5:
            ask = rng.choice(
                [
                    "Can you give me an example?",
                    "Give me an example.",
                    "Example?",
                    "For example?",
                    "Can you make that simpler?",
                    "Is there a picture for that?",
                ]
            )
            turns.append((ask, expand(topic.examples[0], rng)))
        else:
            ask = rng.choice(
                [
                    "Tell me more.",
                    "Tell me more",
                    "More please.",
                    "Go on.",
                    "What else?",
                    "And what else?",
                ]
            )
            points = [point for point in topic.points if expand(point, rng) not in turns[0][1]][-3:]
            turns.append((ask, " ".join(expand(point, rng) for point in points)))
    return turns
