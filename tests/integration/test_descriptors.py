"""Two hundred streams that are opened, dropped, resumed and erased leave no file open."""

import json
import re
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import requests
from tests.integration.serving import Serving, serve

STREAMS = 200
AT_ONCE = 8
SECONDS = 60.0
ASKED = {
    "messages": [{"role": "user", "content": "Tell me a very long story about a dragon"}],
    "stream": True,
    "max_tokens": 24,
}


def open_files(serving: Serving) -> Counter[str]:
    """What the server's descriptors are, by name without numbers (of segments, of sockets)."""
    found: Counter[str] = Counter()
    for each in Path(f"/proc/{serving.process.pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found[re.sub(r"\d+", "N", str(each.readlink()))] += 1
    return found


def settled(serving: Serving, before: Counter[str]) -> Counter[str]:
    """The descriptors that are new, once there are none, or after ten seconds."""
    for _ in range(100):
        if not open_files(serving) - before:
            break
        time.sleep(0.1)
    return open_files(serving) - before


def lived(serving: Serving) -> list[str]:
    """One stream: left in its middle by two readers, read to its end by a third, erased."""
    chat = f"{serving.url}/v1/chat/completions"
    with requests.post(chat, json=ASKED, stream=True, timeout=SECONDS) as reply:
        assert reply.status_code == 200, reply.text
        place = f"{serving.url}/v1/streams/{reply.headers['penstock-stream']}"
        assert said(reply)
    with requests.get(place, stream=True, timeout=SECONDS) as reply:
        assert said(reply)
    with requests.get(place, headers={"Last-Event-ID": "2"}, stream=True, timeout=SECONDS) as reply:
        entries = [json.loads(line[6:]) for line in lines(reply)]
    assert [entry["seq"] for entry in entries] == list(range(3, 3 + len(entries)))
    assert requests.delete(place, timeout=SECONDS).status_code == 200
    assert requests.get(place, timeout=SECONDS).status_code == 404
    return [entry["event"]["type"] for entry in entries]


def said(reply: requests.Response) -> bytes:
    return next(iter(lines(reply)))


def lines(reply: requests.Response) -> Iterable[bytes]:
    return (line for line in reply.iter_lines() if line.startswith(b"data: "))


def test_no_descriptor_stays_of_what_has_gone(tmp_path: Path):
    with (
        serve(tmp_path, '[streams]\non_disconnect = "finish"\n') as serving,
        ThreadPoolExecutor(AT_ONCE) as clients,
    ):
        # What is made at first use (the index' connections) is there before anything is counted.
        list(clients.map(lived, [serving] * AT_ONCE))
        time.sleep(0.5)
        before = open_files(serving)
        assert before.total() > 5
        ends = list(clients.map(lived, [serving] * STREAMS))
        assert len(ends) == STREAMS
        assert {types[-1] for types in ends} == {"done"}
        assert requests.get(f"{serving.url}/v1/streams", timeout=SECONDS).json()["data"] == []
        assert not settled(serving, before)
