"""A chat in the terminal. The server keeps the conversation: come back with the same name.

python interactive_chat.py [NAME]; an empty line or Ctrl-D ends it, Ctrl-C only the answer.
"""

import os
import sys

from penstock import Client, GatewayError
from penstock.core.errors import UnknownSessionError

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")
NAME = sys.argv[1] if len(sys.argv) > 1 else "example"


def typed() -> str:
    try:
        return input("You: ").strip()
    except (EOFError, KeyboardInterrupt):
        print()
        return ""


with Client(URL) as client:
    session = client.session(NAME)
    while said := typed():
        try:
            with session.stream(said, max_tokens=100) as stream:
                try:
                    for text in stream.text():
                        print(text, end="", flush=True)
                except KeyboardInterrupt:
                    stream.cancel()  # else it runs on, and the session is busy
            print()
        except GatewayError as error:
            print(f"\n[{error.code}] {error.message}")
    try:
        print(f"{len(session.history())} messages so far")
    except UnknownSessionError:
        print("nothing was said")
