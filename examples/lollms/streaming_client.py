"""Streams text from a lollms server or a Penstock, by `requests` and `sseclient-py` alone.

Written to the description of lollms_server's `client_examples/streaming_client.py`.
"""

import json
import os
import sys

import requests
import sseclient

BASE_URL = os.environ.get("BASE_URL", "http://localhost:9601/api/v1")
API_KEY = os.environ.get("API_KEY", "user1_key_abc123")


def stream(payload: dict) -> int:
    """Prints what arrives; 0 if it arrived whole."""
    headers = {"X-API-Key": API_KEY, "Accept": "text/event-stream"}
    with requests.post(
        f"{BASE_URL}/generate", json=payload, headers=headers, stream=True, timeout=120
    ) as response:
        if response.status_code != 200:
            print(f"{response.status_code}: {response.text}", file=sys.stderr)
            return 1
        for event in sseclient.SSEClient(response).events():
            chunk = json.loads(event.data)
            match chunk["type"]:
                case "chunk":
                    # None where a model thinks: that is in chunk["thoughts"].
                    print(chunk["content"] or "", end="", flush=True)
                case "info":
                    print(f"[{chunk['content']}]", file=sys.stderr)
                case "error":
                    print(f"\nError: {chunk['content']}", file=sys.stderr)
                    return 1
                case "final":
                    print("\n--- Stream Finished ---")
                    print(f"Final Metadata: {chunk['metadata']}")
                    return 0
    print("\nThe stream was cut off.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    payload = {
        "input_data": [
            {
                "type": "text",
                "role": "user_prompt",
                "data": "Write a short story about a robot discovering music.",
            }
        ],
        "personality": None,
        "generation_type": "ttt",
        "parameters": {"max_tokens": 200, "temperature": 0.7},
        "stream": True,
    }
    sys.exit(stream(payload))
