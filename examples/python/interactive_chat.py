"""A chat in the terminal. The server keeps the conversation: come back with the same name.

python interactive_chat.py [NAME]; an empty line ends it.
"""

import os
import sys

from penstock import Client, GatewayError

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")
NAME = sys.argv[1] if len(sys.argv) > 1 else "example"

with Client(URL) as client:
    session = client.session(NAME)
    while said := input("You: ").strip():
        try:
            with session.stream(said, max_tokens=100) as stream:
                for text in stream.text():
                    print(text, end="", flush=True)
            print()
        except GatewayError as error:
            print(f"\n[{error.code}] {error.message}")
    print(f"{len(session.history())} messages so far")
