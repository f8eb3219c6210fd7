"""A whole answer in one line, and a conversation with its history."""

import os

from penstock import Client

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")

with Client(URL) as client:
    print(client.generate("Hello!", max_tokens=30).text)

    messages = [
        {"role": "system", "content": "You answer in one sentence."},
        {"role": "user", "content": "What is a stream?"},
    ]
    reply = client.chat(messages, temperature=0, max_tokens=60)
    print(reply.text)
    if reply.usage:
        print(f"{reply.usage.input_tokens} tokens in, {reply.usage.output_tokens} out")
