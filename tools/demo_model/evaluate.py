"""Run the demo model through llama.cpp (xllamacpp) and print a Markdown report of what it can do."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from chatformat import IM_START, Message, render, tool_call_text
from checks import exactness
from engine import Engine
from grammar import capital, invent_word

PROMPTS = [
    "Hello!",
    "Who are you?",
    "What can you do?",
    "Tell me a story about a lighthouse.",
    "Write a short story about a robot discovering music.",
    "Write a haiku about coding.",
    "Write a short poem about Python.",
    "What is streaming in computer science?",
    "Explain server-sent events in simple terms.",
    "Explain Python decorators.",
    "What is the GIL?",
    "Explain quantum computing in simple terms.",
    "What does an LLM gateway do?",
    "How do I resume a stream?",
    "List 5 Python best practices.",
    "Count from 1 to 20.",
    "What is the capital of France?",
    "What is 7 + 5?",
    "Say hello world",
    "Who won the football match yesterday?",
]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather for a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
SEARCH = {
    "type": "function",
    "function": {
        "name": "search_docs",
        "description": "Search the documentation.",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string"}},
            "required": ["query"],
        },
    },
}
TOKENIZER_SAMPLES = [
    "Hello world",
    "  two spaces\n\n\nand 12345 numbers, don't I'LL",
    "naïve café — ünïcödé 你好 🙂🤖 e\u0301 مرحبا",
    '<|im_start|>user\nhi<|im_end|>\n<tool_call>\n{"name": "x"}\n</tool_call>',
    "\ttabs\r\n  x = [1,2];\n",
    " \n \n x",
    "trailing  ",
]


def resident_megabytes() -> float:
    """Resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def cell(text: str) -> str:
    """Text for a Markdown table."""
    return text.replace("|", "\\|").replace("\n", "<br>")


def check_tokenizer(engine: Engine, tokenizer: Tokenizer) -> str:
    """Compare the tokens of llama.cpp with those used in training."""
    same = 0
    for text in TOKENIZER_SAMPLES:
        ids = engine.post(
            "/tokenize", {"content": text, "add_special": False, "parse_special": True}
        )["tokens"]
        same += ids == tokenizer.encode(text).ids
    return f"{same} of {len(TOKENIZER_SAMPLES)} samples identical"


def check_template(engine: Engine) -> str:
    """Compare the rendered chat template with the training format."""
    call = {
        "id": "a",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
    }
    history: list[Message] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": '{"temperature": 3}'},
    ]
    theirs = engine.post("/apply-template", {"messages": history, "tools": [WEATHER]})["prompt"]
    mine = [*history]
    mine[2] = {"role": "assistant", "content": tool_call_text("get_weather", {"city": "Paris"})}
    ours = "".join(text for text, _ in render(mine, [WEATHER])) + f"{IM_START}assistant\n"
    return "identical" if theirs == ours else "different"


def share(attempts: int, attempt: Callable[[random.Random], bool], seed: int = 1) -> str:
    """How many seeded attempts succeed."""
    rng = random.Random(seed)
    good = sum(attempt(rng) for _ in range(attempts))
    return f"{good} of {attempts}"


def abilities(engine: Engine) -> dict[str, str]:
    """Success counts on small automatic tasks."""

    def arguments(choice: dict[str, Any]) -> dict[str, Any]:
        calls = choice["message"].get("tool_calls") or [
            {"function": {"name": "", "arguments": "{}"}}
        ]
        function = calls[0]["function"]
        try:
            return {"name": function["name"], **json.loads(function["arguments"])}
        except ValueError:  # the call ran into the token limit
            return {}

    def known_city(rng: random.Random) -> bool:
        city = rng.choice(
            [
                "Paris",
                "London",
                "Berlin",
                "Madrid",
                "Rome",
                "Oslo",
                "Tokyo",
                "New York",
                "Sydney",
                "Lima",
                "Cairo",
                "Boston",
            ]
        )
        ask = rng.choice(
            [
                "What's the weather in {}?",
                "What is the weather like in {}?",
                "Weather in {}",
                "How is the weather in {} today?",
            ]
        )
        return arguments(engine.chat(ask.format(city), tools=[WEATHER])) == {
            "name": "get_weather",
            "city": city,
        }

    def new_city(rng: random.Random) -> bool:
        city = capital(invent_word(rng, 2))
        return arguments(
            engine.chat(f"What's the weather in {city}?", tools=[SEARCH, WEATHER])
        ) == {
            "name": "get_weather",
            "city": city,
        }

    def search(rng: random.Random) -> bool:
        query = f"{invent_word(rng)} {invent_word(rng)}"
        return arguments(engine.chat(f"Search for {query}", tools=[WEATHER, SEARCH])) == {
            "name": "search_docs",
            "query": query,
        }

    def no_tool(rng: random.Random) -> bool:
        ask = rng.choice(
            [
                "Hello!",
                "Tell me a joke.",
                "Thank you!",
                "Who are you?",
                "What is Python?",
                "Tell me a story about a cat.",
            ]
        )
        return bool(engine.chat(ask, tools=[WEATHER])["finish_reason"] == "stop")

    def tool_result(rng: random.Random) -> bool:
        city, degrees, sky = (
            capital(invent_word(rng)),
            rng.randint(-5, 35),
            rng.choice(["sunny", "rainy", "cloudy", "windy"]),
        )
        call = {
            "id": "a",
            "type": "function",
            "function": {"name": "get_weather", "arguments": json.dumps({"city": city})},
        }
        text = engine.text(
            [
                {"role": "user", "content": f"What's the weather in {city}?"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {
                    "role": "tool",
                    "tool_call_id": "a",
                    "content": json.dumps({"temperature": degrees, "condition": sky}),
                },
            ],
            tools=[WEATHER],
        )
        return all(word in text for word in (city, str(degrees), sky))

    def name(rng: random.Random) -> bool:
        person = rng.choice(
            ["Maria", "Tom", "Priya", capital(invent_word(rng, 2)), capital(invent_word(rng, 2))]
        )
        history: list[Message] = []
        for ask in (
            f"Hi, my name is {person}.",
            rng.choice(["What is the capital of Italy?", "Tell me a joke.", "What is 3 + 4?"]),
            "What is my name?",
        ):
            history.append({"role": "user", "content": ask})
            history.append({"role": "assistant", "content": engine.text(history)})
        return person in history[-1]["content"]

    def echo(rng: random.Random) -> bool:
        phrase = " ".join(invent_word(rng) for _ in range(3))
        return engine.text(f"Say {phrase}") == phrase

    def total(rng: random.Random) -> bool:
        a, b = rng.randint(0, 12), rng.randint(0, 12)
        sign, value = rng.choice([("+", a + b), ("*", a * b)])
        text = engine.text(f"What is {a} {sign} {b}?")
        return text.rstrip(".").endswith(f" {value}")

    def pirate(rng: random.Random) -> bool:
        ask = rng.choice(
            ["Hello!", "What is Python?", "What is the capital of Spain?", "Who are you?"]
        )
        text = engine.text(
            [{"role": "system", "content": "You are a pirate."}, {"role": "user", "content": ask}]
        )
        return any(word in text for word in ("Arr", "matey", "Yo ho", "Aye", "timbers"))

    def thinks(rng: random.Random) -> bool:
        ask = rng.choice(
            [
                "What is Python?",
                "What is 3 + 4?",
                "Tell me a story.",
                "What is the capital of Peru?",
            ]
        )
        message = engine.chat(ask, reasoning_effort="low")["message"]
        return bool(message.get("reasoning_content")) and bool(message["content"])

    def stops(rng: random.Random) -> bool:
        choice = engine.chat(rng.choice(PROMPTS), temperature=0.8, seed=rng.randint(0, 10**6))
        return bool(choice["finish_reason"] == "stop")

    tasks: dict[str, tuple[int, Callable[[random.Random], bool]]] = {
        "tool call, known city, one tool": (20, known_city),
        "tool call, invented city, two tools": (20, new_city),
        "tool call, invented search words, two tools": (20, search),
        "no tool call when none is needed": (12, no_tool),
        "tool result used in the answer": (20, tool_result),
        "name remembered two turns later": (20, name),
        "echo of three invented words": (20, echo),
        "sum or product of numbers up to 12": (30, total),
        "pirate system prompt followed": (8, pirate),
        "thinks first when asked to": (8, thinks),
        "ends by itself at temperature 0.8": (30, stops),
    }
    return {label: share(count, attempt) for label, (count, attempt) in tasks.items()}


def exact(engine: Engine, failures: bool) -> None:
    """Print how many exactness checks succeed at temperature 0 and at 0.8."""
    for label, cases in exactness().items():
        shares = []
        for temperature in (0, 0.8):
            good = 0
            for index, case in enumerate(cases):
                choice = engine.chat(case.prompt, temperature=temperature, seed=index + 1)
                text = str(choice["message"]["content"])
                right = choice["finish_reason"] == "stop" and case.right(text)
                good += right
                if failures and not right:
                    print(f"{temperature} {case.prompt!r} {text[:160]!r}")
            shares.append(f"{good} of {len(cases)} ({100 * good / len(cases):.0f} %)")
        print(f"| {label} | {shares[0]} | {shares[1]} |", flush=True)


def speed(engine: Engine) -> str:
    """Tokens per second of one stream, and the time to its first token."""
    started = time.perf_counter()
    first, count = 0.0, 0
    for choice in engine.stream(
        "Tell me a very long story about a dragon.", temperature=0.8, seed=1
    ):
        if choice["delta"].get("content"):
            first = first or time.perf_counter() - started
            count += 1
    total = time.perf_counter() - started
    return f"{(count - 1) / (total - first):.0f} tokens/s over {count} chunks, first token after {first * 1000:.0f} ms"


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("penstock-demo.gguf"))
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--exact", action="store_true", help="only the exactness checks")
    parser.add_argument("--failures", action="store_true", help="print the replies that were wrong")
    args = parser.parse_args()
    before = resident_megabytes()
    engine = Engine(args.model, args.threads)
    print("| Exactness check | Temperature 0 | Temperature 0.8 |\n| --- | --- | --- |")
    exact(engine, args.failures)
    if args.exact:
        return
    print()
    tokenizer = Tokenizer.from_file(str(args.build / "tokenizer.json"))
    print("| Check | Result |\n| --- | --- |")
    print(f"| load time | {engine.load_seconds * 1000:.0f} ms |")
    print(f"| speed (2 threads, one stream) | {speed(engine)} |")
    print(
        f"| resident memory of the process | {before:.0f} MB before loading, "
        f"{resident_megabytes():.0f} MB after one long reply |"
    )
    print(f"| tokenizer against training | {check_tokenizer(engine, tokenizer)} |")
    print(f"| chat template against training | {check_template(engine)} |")
    for label, result in abilities(engine).items():
        print(f"| {label} | {result} |")
    deltas = list(engine.stream("What's the weather in Paris?", tools=[WEATHER]))
    calls = sum(bool(choice["delta"].get("tool_calls")) for choice in deltas)
    print(f"| streamed tool call | {calls} deltas, finish reason {deltas[-1]['finish_reason']} |")
    for title, options in (
        ("Temperature 0", {"temperature": 0}),
        ("Temperature 0.8", {"temperature": 0.8, "seed": 3}),
    ):
        print(f"\n### {title}\n\n| Prompt | Reply | Ended by |\n| --- | --- | --- |")
        for prompt in PROMPTS:
            choice = engine.chat(prompt, **options)
            print(
                f"| {cell(prompt)} | {cell(choice['message']['content'])} | {choice['finish_reason']} |"
            )


if __name__ == "__main__":
    main()
