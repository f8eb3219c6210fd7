"""Conversations in which the model calls a tool and then uses the result."""

from __future__ import annotations

import json
import random
from typing import Any

from chatformat import Message, tool_call_text
from grammar import capital, expand, invent_word, pairs, read_blocks, words
from scenes import exchange
from sources import CAPITALS, CITIES, FACTS, NAMES, person, split_names

TOOLS = [
    (heads[0].split(), [line for line in lines if line])
    for heads, lines in read_blocks("tools.txt")
]
VERBS = ["get", "find", "fetch", "check", "list", "load", "count", "read", "show", "query"]
THINGS = [
    "flights",
    "stock",
    "invoice",
    "ticket",
    "battery",
    "humidity",
    "score",
    "recipe",
    "route",
    "balance",
    "device",
    "queue",
    "orders",
    "menu",
    "schedule",
    "traffic",
    "inventory",
    "temperature",
    "news",
    "status",
    "level",
    "report",
    "calendar",
    "contact",
    "parcel",
    "room",
    "sensor",
    "printer",
    "server",
    "job",
]
PARAMS = ["id", "name", "query", "value", "code", "key", "target", "item", "label", "subject"]


def schema(
    name: str,
    description: str,
    params: dict[str, str],
    required: list[str] | None = None,
    enums: dict[str, list[str]] | None = None,
    notes: bool = False,
    strict: bool = False,
) -> dict[str, Any]:
    """A tool in the OpenAI format."""
    properties: dict[str, Any] = {}
    for param, kind in params.items():
        properties[param] = {"type": kind}
        if enums and param in enums:
            properties[param]["enum"] = enums[param]
        elif notes:
            properties[param]["description"] = f"The {param.replace('_', ' ')}"
    function: dict[str, Any] = {"name": name}
    if description:
        function["description"] = description
    function["parameters"] = {
        "type": "object",
        "properties": properties,
        "required": list(params) if required is None else required,
    }
    if strict:
        function["parameters"]["additionalProperties"] = False
        function["strict"] = True
    return {"type": "function", "function": function}


def slot(kind: str, rng: random.Random) -> str:
    """A value for a tool argument."""
    if kind == "city" and rng.random() < 0.08:
        country, city = rng.choice(list(CAPITALS.items()))
        return f"{city}, {country}"
    if kind == "city":
        return (
            rng.choice(CITIES + list(CAPITALS.values()))
            if rng.random() < 0.65
            else capital(invent_word(rng, rng.choice([2, 3])))
        )
    if kind == "person":
        return person(rng)
    if kind == "thing" and rng.random() < 0.35:
        return " ".join(invent_word(rng) for _ in range(rng.choice([1, 2, 2, 3])))
    if kind == "thing" and rng.random() < 0.4:
        return rng.choice(
            [
                " ".join(invent_word(rng) for _ in range(rng.choice([1, 2]))),
                rng.choice(CITIES),
                rng.choice(split_names("unknown")),
            ]
        )
    if kind == "country":
        return rng.choice(list(CAPITALS))
    if kind == "enword":
        return rng.choice(list(pairs(FACTS["translate"])))
    if kind == "number":
        return str(rng.choice([6, 8, 10, 12, 20, 50, 100, rng.randint(2, 999)]))
    if kind == "file":
        return (
            rng.choice(["", "/tmp/", "src/", "docs/", "data/"])
            + invent_word(rng, rng.choice([1, 2]))
            + rng.choice([".txt", ".py", ".md", ".json", ".csv"])
        )
    if kind == "food":
        return rng.choice(["a ", "two ", "three ", "some "]) + rng.choice(
            words(" ".join(NAMES["food"]))
        )
    return rng.choice(split_names(kind))


def result_value(kind: str, value: str, rng: random.Random) -> Any:
    """A made-up field of a tool response."""
    name, _, spec = kind.partition(":")
    if name == "int":
        low, high = map(int, spec.split(":"))
        return rng.randint(low, high)
    if name == "word":
        return rng.choice(spec.split(",")).replace("_", " ")
    if name == "clock":
        return f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
    if name == "email":
        return f"{value.lower()}@{invent_word(rng)}.com"
    if name == "capital":
        return CAPITALS[value]
    return pairs(FACTS["translate"])[value].split(",")[0]


class Call:
    """One tool use: the tool, the question, the call, the response and the answer."""

    def __init__(
        self, tool: dict[str, Any], ask: str, arguments: dict[str, Any], response: Any, answer: str
    ) -> None:
        self.tool, self.ask, self.arguments, self.response, self.answer = (
            tool,
            ask,
            arguments,
            response,
            answer,
        )


def listed_call(rng: random.Random) -> Call:
    """A use of one of the tools in the data file."""
    names, lines = rng.choice(TOOLS if rng.random() < 0.7 else TOOLS[:3])
    field = {line[0]: line[2:] for line in lines if line[0] in "dptr"}
    name = names[0] if rng.random() < 0.4 else rng.choice(names)
    value = slot(field["t"], rng)
    param = rng.choice(field["p"].split()) if rng.random() < 0.6 else field["p"].split()[0]
    number = field["t"] == "number" and rng.random() < 0.8
    params = {param: "integer" if number else "string"}
    arguments: dict[str, Any] = {param: int(value) if number else value}
    enums = {}
    ask = expand(rng.choice([line[2:] for line in lines if line[0] == "?"]), rng, {"v": value})
    required = None
    if field["t"] == "city" and "temperature" in field["r"] and rng.random() < 0.35:
        params["unit"] = "string"
        enums["unit"] = ["celsius", "fahrenheit"]
        required = [param]
        if rng.random() < 0.6:
            unit = rng.choice(enums["unit"])
            ask = ask.rstrip("?.") + f" in {unit}" + ("?" if ask.endswith("?") else "")
            arguments["unit"] = unit
    elif field["t"] == "person" and "status" in field["r"]:
        text = rng.choice(split_names("phrase") + split_names("chore"))
        other = rng.choice(["text", "message", "body"])
        params[other] = "string"
        arguments[other] = text
        ask = rng.choice(
            [
                f"Tell {value}: {text}",
                f"Send a message to {value}: {text}",
                f'Send {value} the message "{text}"',
                f"Please write to {value} that {text}",
                f"Message {value} saying {text}",
            ]
        )
    shown = {
        key: result_value(spec, value, rng)
        for key, spec in (part.split("=", 1) for part in words(field["r"]))
    }
    answer = expand(
        rng.choice([line[2:] for line in lines if line[0] == "="]),
        rng,
        {"v": value} | {key: str(item) for key, item in shown.items()},
    )
    if rng.random() < 0.3:
        shown = {param: value} | shown
    description = field["d"] if rng.random() < 0.8 else ""
    tool = schema(
        name,
        description,
        params,
        required,
        enums,
        notes=rng.random() < 0.3,
        strict=rng.random() < 0.1,
    )
    return Call(tool, ask, arguments, shown, answer)


def invented_call(rng: random.Random) -> Call:
    """A tool with a made-up name, to train copying from the prompt."""
    thing = rng.choice(THINGS) if rng.random() < 0.7 else invent_word(rng)
    verb = rng.choice(VERBS)
    name = f"{verb}_{thing}" if rng.random() < 0.8 else thing
    param = rng.choice(PARAMS) if rng.random() < 0.7 else f"{thing}_{rng.choice(PARAMS)}"
    number = rng.random() < 0.3
    value = (
        str(rng.randint(1, 9999))
        if number
        else rng.choice([person(rng), invent_word(rng), slot("city", rng), slot("thing", rng)])
    )
    ask = rng.choice(
        [
            f"Use {name} with {value}.",
            f"Call {name} for {value}.",
            f"{capital(verb)} the {thing} for {value}.",
            f"What is the {thing} of {value}?",
            f"{capital(verb)} {thing} {value}",
            f"Please {verb} the {thing} of {value}.",
            f"I need the {thing} for {value}.",
            f"Use the tool {name} on {value}",
        ]
    )
    result = rng.choice(
        [rng.randint(0, 500), invent_word(rng), "ok", "ready", "empty", rng.choice(CITIES)]
    )
    key = rng.choice(["result", thing, "value"])
    answer = rng.choice(
        [
            f"The {thing} for {value} is {result}.",
            f"The result for {value} is {result}.",
            f"I asked {name}, and the answer is {result}.",
        ]
    )
    description = rng.choice(
        [
            f"{capital(verb)} the {thing}.",
            f"{capital(verb)} the {thing} for a given {param.replace('_', ' ')}.",
            "",
        ]
    )
    tool = schema(
        name,
        description,
        {param: "integer" if number else "string"},
        notes=rng.random() < 0.3,
        strict=rng.random() < 0.1,
    )
    return Call(tool, ask, {param: int(value) if number else value}, {key: result}, answer)


def calculator_call(rng: random.Random) -> Call:
    """A calculator or a timer."""
    if rng.random() < 0.3:
        minutes = rng.randint(1, 90)
        name = rng.choice(["set_timer", "start_timer", "timer"])
        param = rng.choice(["minutes", "duration", "time"])
        ask = rng.choice(
            [
                f"Set a timer for {minutes} minutes.",
                f"Start a timer of {minutes} minutes",
                f"Timer for {minutes} minutes please",
            ]
        )
        return Call(
            schema(name, "Start a timer.", {param: "integer"}),
            ask,
            {param: minutes},
            {"status": "started"},
            f"The timer is set for {minutes} minutes.",
        )
    a, b, sign = rng.randint(2, 999), rng.randint(2, 999), rng.choice("+-*")
    value = a + b if sign == "+" else a - b if sign == "-" else a * b
    text = rng.choice([f"{a} {sign} {b}", f"{a}{sign}{b}"])
    ask = rng.choice(
        [f"What is {text}?", f"Calculate {text}", f"Compute {text}.", f"Use the calculator: {text}"]
    )
    name = rng.choice(["calculator", "calculate", "calc", "evaluate", "compute"])
    if rng.random() < 0.35 and sign != "-":
        name = {"+": "add", "*": "multiply"}[sign]
        keys = rng.choice([("a", "b"), ("x", "y")])
        return Call(
            schema(name, f"{capital(name)} two numbers.", dict.fromkeys(keys, "integer")),
            ask,
            dict(zip(keys, (a, b), strict=True)),
            {"result": value},
            f"The result is {value}.",
        )
    param = rng.choice(["expression", "expression", "input", "formula"])
    return Call(
        schema(name, "Evaluate an arithmetic expression.", {param: "string"}),
        ask,
        {param: text},
        {"result": value},
        rng.choice([f"The result is {value}.", f"{text} is {value}."]),
    )


def any_call(rng: random.Random) -> Call:
    """A call of any kind."""
    return rng.choices([listed_call, invented_call, calculator_call], [62, 26, 12])[0](rng)


def tool_chat(rng: random.Random) -> tuple[list[Message], list[dict[str, Any]]]:
    """A conversation with tools: some turns need a tool, some do not."""
    calls = [any_call(rng)]
    if rng.random() < 0.2:
        calls.append(any_call(rng))
    tools = {call.tool["function"]["name"]: call.tool for call in calls}
    for _ in range(rng.choices([0, 1, 2], [55, 30, 15])[0]):
        extra = any_call(rng).tool
        tools.setdefault(extra["function"]["name"], extra)
    order = list(tools.values())
    rng.shuffle(order)
    messages: list[Message] = []

    def plain() -> None:
        kind = rng.choice(["smalltalk", "smalltalk", "story", "explain", "echo", None])
        for ask, answer in exchange(rng, kind)[:1]:
            messages.extend(
                [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
            )

    if rng.random() < 0.25:
        plain()
        if rng.random() < 0.6:
            return messages, order
    for call in calls:
        name = call.tool["function"]["name"]
        if tools[name] is not call.tool:
            continue
        messages.append({"role": "user", "content": call.ask})
        messages.append({"role": "assistant", "content": tool_call_text(name, call.arguments)})
        response = call.response
        if isinstance(response, dict) and len(response) == 1 and rng.random() < 0.3:
            text = str(next(iter(response.values())))
        else:
            text = json.dumps(
                response, ensure_ascii=False, separators=rng.choice([(", ", ": "), (",", ":")])
            )
        messages.append({"role": "tool", "content": text})
        messages.append({"role": "assistant", "content": call.answer})
        if rng.random() < 0.1:
            plain()
    return messages, order
