"""Letter by letter at a steady pace, however unevenly the answer comes."""

import os
import time

from penstock import Client

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")
SECONDS = float(os.environ.get("TYPE_SECONDS", "0.02"))

with Client(URL) as client, client.stream("Write a haiku.", max_tokens=60) as stream:
    for text in stream.text():
        for letter in text:
            print(letter, end="", flush=True)
            time.sleep(SECONDS)
print()
