"""What is asked of the embedded engine directly, and of an engine on a Penstock that serves it."""

import msgspec
from tests.integration.embedded import GREEDY, WEATHER, ask

from penstock.core.messages import Message, TextPart, ToolCall, say
from penstock.core.request import ReplyFormat, Request, Sampling
from penstock.wire import json as wire_json

SCHEMA = '{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}'
WEATHER_ASKED = Request(
    messages=(say("user", "What is the weather in Paris?"),), sampling=GREEDY, tools=(WEATHER,)
)
RESULT = (
    Message(
        role="assistant",
        tool_calls=(ToolCall(id="call_0", name="get_weather", arguments='{"city":"Paris"}'),),
    ),
    Message(
        role="tool",
        parts=(TextPart('{"city": "Paris", "temperature": 18, "condition": "sunny"}'),),
        tool_call_id="call_0",
    ),
)
ASKED = {
    "text": ask("What is streaming?"),
    "length": ask("Tell me a story.", Sampling(temperature=0, max_tokens=4)),
    "options": ask(
        "Tell me a story.",
        Sampling(
            temperature=0.7,
            top_p=0.9,
            top_k=20,
            min_p=0.05,
            seed=7,
            stop=("the",),
            presence_penalty=0.5,
            frequency_penalty=0.5,
            repeat_penalty=1.1,
            repeat_last_n=33,
            max_tokens=40,
        ),
    ),
    "thinking": msgspec.structs.replace(ask("What is a token?"), effort="medium"),
    "not thinking": msgspec.structs.replace(ask("What is a token?"), effort="none"),
    "tools": WEATHER_ASKED,
    "tool turn": msgspec.structs.replace(WEATHER_ASKED, messages=WEATHER_ASKED.messages + RESULT),
    "schema": msgspec.structs.replace(
        ask("Give me a JSON object with a name.", Sampling(temperature=0, max_tokens=60)),
        reply_format=ReplyFormat(kind="json_schema", schema=wire_json.raw(SCHEMA)),
    ),
    "system": Request(
        messages=(say("system", "Be brief."), say("user", "Who are you?")), sampling=GREEDY
    ),
    "raw": msgspec.structs.replace(
        ask("Once upon a time", Sampling(temperature=0, max_tokens=12)), raw=True
    ),
}
