"""The model calls a function; its arguments arrive piece by piece, its result goes back."""

import json
import os

from penstock import Client, Message, TextDelta, ToolCallDelta
from penstock.client.sync import tool

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")
WEATHER = tool(
    "get_weather",
    "Get the weather in a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


def get_weather(city: str) -> str:
    return f"Sunny in {city}, 21 degrees"


with Client(URL) as client:
    messages: list[Message | dict[str, object]] = [
        {"role": "user", "content": "What is the weather in Paris?"}
    ]
    with client.stream(
        messages, tools=[WEATHER], tool_choice="get_weather", temperature=0
    ) as stream:
        for event in stream:
            if isinstance(event, ToolCallDelta):
                print(event.name or "", event.arguments, flush=True)
        reply = stream.result()

    messages.append(Message(role="assistant", tool_calls=reply.tool_calls))
    for call in reply.tool_calls:
        found = get_weather(**json.loads(call.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": found})

    with client.stream(messages, tools=[WEATHER], temperature=0, max_tokens=60) as answer:
        for event in answer:
            if isinstance(event, TextDelta):
                print(event.text, end="", flush=True)
print()
