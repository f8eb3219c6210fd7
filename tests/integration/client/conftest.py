"""A real gateway with the embedded demo model and a recording of 200 events."""

from collections.abc import Iterator

import pytest
from tests.integration.serving import Serving, serve

from penstock.core.events import Done, Event, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from penstock.wire import json

CONFIG = """
[bindings.embedded]
engine = "llamacpp"

[bindings.played]
engine = "replay"
path = "{folder}"
interval_ms = {interval}
batch = 3

[bindings.paced]
engine = "replay"
path = "{folder}"
interval_ms = 5

[bindings.stuck]
engine = "replay"
path = "{folder}"
interval_ms = 600000
"""


def recording() -> list[Event]:
    """With the run's `Start`: 200 events."""
    said: list[Event] = [ReasoningDelta(part=0, text=f"hm {n}… ") for n in range(10)]
    said += [TextDelta(part=1, text=f"wörd {n} 🙂\n\n\u2028") for n in range(180)]
    said += [
        ToolCallDelta(part=2, call="c1", name="look", arguments='{"a":'),
        *(ToolCallDelta(part=2, call="c1", arguments=f"{n}") for n in range(5)),
        ToolCallDelta(part=2, call="c1", arguments="}"),
    ]
    return [*said, Usage(input_tokens=3, output_tokens=197), Done(reason="tool_calls")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("server")
    recordings = folder / "recordings"
    recordings.mkdir()
    lines = b"\n".join(json.encode(event) for event in recording())
    (recordings / "long.jsonl").write_bytes(lines)
    big = b"\n".join(json.encode(TextDelta(part=1, text="x" * 8000)) for _ in range(1500))
    (recordings / "big.jsonl").write_bytes(big + b"\n" + json.encode(Done(reason="stop")))
    with serve(folder, CONFIG.format(folder=recordings, interval=0.2)) as serving:
        yield serving
