"""What streaming is worth: the wait for a whole answer beside that for the first word of it.

python benchmark.py [RUNS]
"""

import os
import sys
import time
from statistics import median

from penstock import Client

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")
RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
QUESTION = "Write a detailed explanation of Python's GIL."
whole, first, last, speed = [], [], [], []

with Client(URL) as client:
    for _ in range(RUNS):
        begun = time.monotonic()
        client.generate(QUESTION, max_tokens=100)
        whole.append(time.monotonic() - begun)

        begun = time.monotonic()
        with client.stream(QUESTION, max_tokens=100) as stream:
            for _ in stream.text():
                pass
        last.append(time.monotonic() - begun)
        metrics = stream.metrics
        first.append(metrics.first_token or last[-1])
        speed.append(metrics.tokens_per_second or 0)

print(f"medians of {RUNS} runs")
print(f"whole:    {median(whole):.3f} s to the first word")
print(f"streamed: {median(first):.3f} s to the first word, {median(last):.3f} s to the last")
print(f"          {median(speed):.1f} tokens a second")
