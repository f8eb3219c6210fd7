"""Sentences as soon as they are whole, and the whole text at the end."""

import os
import re

from penstock import Client

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")
waiting, sentences = "", []


def process(sentence: str) -> None:
    sentences.append(sentence)
    print(f"{len(sentences)}. {sentence}")


with Client(URL) as client, client.stream("Tell me a short story.", max_tokens=150) as stream:
    for text in stream.text():
        waiting += text
        *whole, waiting = re.split(r"(?<=[.!?])\s+", waiting)
        for sentence in whole:
            process(sentence)
    if waiting:
        process(waiting)
    reply = stream.result()

print(f"{len(reply.text.split())} words, ended by {reply.first.reason}")
