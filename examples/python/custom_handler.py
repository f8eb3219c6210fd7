"""A handler of one's own for each kind of event."""

import os
from dataclasses import dataclass, field

from penstock import Client, Done, Event, Failed, ReasoningDelta, TextDelta, ToolCallDelta, Usage

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")


@dataclass
class Handler:
    said: list[str] = field(default_factory=list)
    thought: list[str] = field(default_factory=list)

    def on_event(self, event: Event) -> None:
        match event:
            case TextDelta(text=text):
                self.said.append(text)
            case ReasoningDelta(text=text):
                self.thought.append(text)
            case ToolCallDelta(name=str(name)):
                print("calls", name)
            case Usage(output_tokens=tokens):
                print(tokens, "tokens")
            case Done(reason=reason):
                print("done:", reason)
            case Failed(message=message):
                print("failed:", message)
            case _:
                pass


handler = Handler()
with Client(URL) as client, client.stream("Hello!", max_tokens=40) as stream:
    for event in stream:
        handler.on_event(event)
print("".join(handler.said))
