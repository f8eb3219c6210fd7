"""A line that shows that something happens: waiting, thinking, then the number of tokens."""

import os

from penstock import Client, ReasoningDelta, TextDelta
from penstock.core.events import Progress

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")
pieces = []

with Client(URL) as client, client.stream("Tell me about rivers.", max_tokens=80) as stream:
    for event in stream:
        match event:
            case Progress(what=what, at=at):
                print(f"\r{what} {at}", end="")
            case ReasoningDelta():
                print("\rthinking", end="")
            case TextDelta(text=text):
                pieces.append(text)
                print(f"\r{stream.metrics.tokens} tokens", end="", flush=True)
            case _:
                pass
print("\n" + "".join(pieces))
