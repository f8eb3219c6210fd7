"""The program that asked is killed in mid-answer; another one goes on, with nothing lost or twice.

This script starts itself as the first program.
"""

import os
import subprocess
import sys

from penstock import Client

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")

if "--first" in sys.argv:
    with Client(URL) as client, client.stream("A long story, please.", max_tokens=200) as stream:
        for entry in stream.entries():
            print(stream.id, entry.seq, flush=True)
            if entry.seq == 5:
                os.abort()  # no clean-up of any kind
    sys.exit()  # it was a short story

first = subprocess.run([sys.executable, __file__, "--first"], capture_output=True, text=True)
name, seq = first.stdout.split()[-2:]
print(f"the first program died ({first.returncode}) after event {seq}")

with Client(URL) as client, client.resume(name, after=int(seq)) as rest:
    for text in rest.text():
        print(text, end="", flush=True)
    whole = rest.result()
print(f"\nwhole answer: {len(whole.text)} characters")
