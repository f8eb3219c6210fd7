"""Draws a picture, shows how far it is, and saves it.   python image_client.py "a red circle"."""

import os
import sys

from penstock import Client, GatewayError

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")
PROMPT = " ".join(sys.argv[1:]) or "a red circle on a white ground"

try:
    with Client(URL) as client, client.image(PROMPT) as drawing:
        for progress in drawing:
            print(f"{progress.what} {progress.at}/{progress.of}")
        for number, picture in enumerate(drawing.result(), 1):
            print("saved", picture.save(f"picture-{number}"), f"{len(picture.data)} bytes")
except GatewayError as error:
    sys.exit(f"[{error.code}] {error.message}")
