"""An answer as it arrives, with what it took.   python streaming_client.py "Your question"."""

import os
import sys

from penstock import Client

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")
QUESTION = " ".join(sys.argv[1:]) or "Tell me a story about a lighthouse."

with Client(URL) as client, client.stream(QUESTION, max_tokens=200) as stream:
    for text in stream.text():
        print(text, end="", flush=True)
    metrics = stream.metrics
    if metrics.first_token is not None:
        print(f"\n\n{metrics.tokens} tokens, the first after {metrics.first_token:.3f} s")
    if metrics.tokens_per_second is not None:
        print(f"{metrics.tokens_per_second:.1f} tokens a second")
