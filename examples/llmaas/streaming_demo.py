"""Server-sent events from any OpenAI-compatible server, by hand: `requests`, no library of ours.

Written to the description of the LLMaaS streaming demonstration; `penstock stream` is the same and
more. Copy `config.example.json` to `config.json` and edit it.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import requests

PROMPT = "Write a short story about a robot discovering art."
KEYS = {"api": ("endpoint", "token"), "defaults": ("model", "max_tokens", "temperature", "timeout")}


def load(path: Path) -> dict:
    """The configuration. Exits, naming what is wrong with it."""
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        sys.exit(f"❌ {path}: {error}; copy config.example.json to it")
    for section, keys in KEYS.items():
        for key in keys:
            if key not in config.get(section, {}):
                sys.exit(f"❌ {path}: {section}.{key} is missing")
    return config


def stream(config: dict, model: str, prompt: str, *, debug: bool) -> int:
    """Prints the answer as it arrives, and what it took; 0 if it came to its end."""
    payload = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "max_tokens": config["defaults"]["max_tokens"],
        "temperature": config["defaults"]["temperature"],
    }
    token = config["api"]["token"]
    if debug:
        print(f"payload: {json.dumps(payload, indent=2)}")
    began = time.monotonic()
    with requests.post(
        f"{config['api']['endpoint']}/chat/completions",
        json=payload,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        stream=True,
        timeout=config["defaults"]["timeout"],
    ) as response:
        if response.status_code != 200:
            print(f"❌ {response.status_code}: {response.text}", file=sys.stderr)
            return 1
        print(f"🎬 Streaming Response:\n{'=' * 50}")
        tokens, trouble = show(response, debug=debug)
    seconds = time.monotonic() - began
    print(f"\n{'=' * 50}")
    if trouble:
        print(f"❌ {trouble}", file=sys.stderr)
        return 1
    print("✅ Streaming finished!")
    print(f"📊 Tokens received: {tokens}")
    print(f"⏱️  Duration: {seconds:.2f}s")
    print(f"🚀 Speed: {tokens / seconds:.1f} tokens/s")
    return 0


def show(response: requests.Response, *, debug: bool) -> tuple[int, str]:
    """Prints the pieces; how many there were, and what kept the rest from coming."""
    tokens = 0
    for line in response.iter_lines():
        if not line.startswith(b"data: "):
            continue
        data = line[6:]
        if debug:
            print(f"\nraw: {data!r}")
        if data == b"[DONE]":
            return tokens, ""
        chunk = json.loads(data)
        if "error" in chunk:
            return tokens, chunk["error"]["message"]
        content = chunk["choices"][0]["delta"].get("content") if chunk["choices"] else ""
        if content:
            tokens += 1
            print(content, end="", flush=True)
    return tokens, "the stream was cut off"


def main() -> int:
    """Reads the command line."""
    options = argparse.ArgumentParser(description="LLMaaS Streaming Demonstration")
    options.add_argument("prompt", nargs="?", default=PROMPT)
    options.add_argument("--model", "-m")
    options.add_argument("--debug", "-d", action="store_true")
    options.add_argument("--config", "-c", type=Path, default=Path("config.json"))
    chosen = options.parse_args()
    config = load(chosen.config)
    model = chosen.model or config["defaults"]["model"]
    print(f"🔧 Configuration:\n   - API: {config['api']['endpoint']}\n   - Model: {model}")
    print(f"   - Streaming: Enabled (SSE)\n\n💭 Question: {chosen.prompt}\n")
    try:
        return stream(config, model, chosen.prompt, debug=chosen.debug)
    except requests.RequestException as error:
        print(f"❌ {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\n⏹️  Stopped.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
