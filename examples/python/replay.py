"""An answer once more, with the rhythm in which it came; then twice as fast."""

import os
import time

from penstock import Client

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")

with Client(URL) as client:
    with client.stream("Tell me a story.", max_tokens=80) as stream:
        stream.result()
    for speed in (1.0, 2.0):
        begun = time.monotonic()
        with stream.replay(speed=speed) as again:
            for text in again.text():
                print(text, end="", flush=True)
        print(f"\n[at speed {speed:g}: {time.monotonic() - begun:.3f} s]")
