"""Makes a picture at a lollms server or a Penstock, by `requests` and Pillow alone.

Written to the description of lollms_server's `client_examples/image_client.py`; `make run-images`
serves the binding and the personality that it names.
"""

import base64
import io
import json
import os
import sys
from datetime import datetime
from pathlib import Path

import requests
from PIL import Image

BASE_URL = os.environ.get("BASE_URL", "http://localhost:9601/api/v1")
API_KEY = os.environ.get("API_KEY", "user1_key_abc123")
OUTPUT_DIR = Path("generated_images")


def generate(payload: dict) -> int:
    """Saves the picture, prints the rest of the answer; 0 if there was one."""
    response = requests.post(
        f"{BASE_URL}/generate", json=payload, headers={"X-API-Key": API_KEY}, timeout=600
    )
    if response.status_code != 200:
        print(f"{response.status_code}: {response.text}", file=sys.stderr)
        return 1
    answer = response.json()
    picture = Image.open(io.BytesIO(base64.b64decode(answer.pop("image_base64"))))
    OUTPUT_DIR.mkdir(exist_ok=True)
    path = OUTPUT_DIR / f"generated_image_{datetime.now().astimezone():%Y%m%d-%H%M%S}.png"
    picture.save(path)
    for item in answer.get("output", []):
        item.pop("data", None)
    print(json.dumps(answer, indent=2))
    print(f"Image saved successfully to: {path}")
    return 0


if __name__ == "__main__":
    payload = {
        "personality": "my_coolbot",
        "prompt": "Impressionist painting of a cat programmer working late at night",
        "binding_name": "my_dalle_binding",
        "generation_type": "tti",
        "parameters": {
            "model": "dall-e-3",
            "size": "1024x1024",
            "quality": "standard",
            "style": "vivid",
        },
        "stream": False,
    }
    sys.exit(generate(payload))
