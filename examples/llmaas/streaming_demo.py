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
KEYS = {
    "api": {"endpoint": str, "token": str},
    "defaults": {
        "model": str,
        "max_tokens": int,
        "temperature": (int, float),
        "timeout": (int, float),
    },
}
EXAMPLES = """examples:
  python streaming_demo.py
  python streaming_demo.py --model gemma3:4b
  python streaming_demo.py --debug
  python streaming_demo.py "Explain the concept of streaming in computer science"
  python streaming_demo.py --model granite3.3:8b --debug "Tell me a story"
"""


def load(path: Path) -> dict:
    """The configuration. Exits, naming what is wrong with it."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        sys.exit(f"❌ {path}: {error.strerror}; copy config.example.json to it")
    except ValueError as error:
        sys.exit(f"❌ {path} is not JSON: {error}")
    for section, keys in KEYS.items():
        found = config.get(section) if isinstance(config, dict) else None
        for key, kind in keys.items():
            if not isinstance(found, dict) or key not in found:
                sys.exit(f"❌ {path}: {section}.{key} is missing")
            if not isinstance(found[key], kind):
                sys.exit(f"❌ {path}: {section}.{key} can't be {json.dumps(found[key])}")
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
        print(f"request: {json.dumps(payload, indent=2)}")
    began = time.monotonic()
    with requests.post(
        f"{config['api']['endpoint'].rstrip('/')}/chat/completions",
        json=payload,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        stream=True,
        timeout=config["defaults"]["timeout"],
    ) as response:
        if debug:
            print(f"response: {response.status_code} {json.dumps(dict(response.headers))}")
        if response.status_code != 200:
            print(f"❌ HTTP {response.status_code}: {response.text}", file=sys.stderr)
            return 1
        print(f"🎬 Streaming Response:\n{'=' * 50}")
        tokens, malformed, trouble = show(response, debug=debug)
    seconds = time.monotonic() - began
    print(f"\n{'=' * 50}")
    if malformed:
        print(f"⚠️  Malformed events left out: {malformed}", file=sys.stderr)
    if malformed and not tokens:
        trouble = trouble or "nothing else arrived"
    if trouble:
        print(f"❌ {trouble}", file=sys.stderr)
        return 1
    speed = tokens / seconds
    print("✅ Streaming finished!")
    print(f"📊 Tokens received: {tokens}")
    print(f"⏱️  Duration: {seconds:.2f}s")
    print(f"🚀 Speed: {speed:.1f} tokens/s")
    if debug:
        print(json.dumps({"tokens": tokens, "duree_s": seconds, "vitesse_tps": speed}))
    return 0


def show(response: requests.Response, *, debug: bool) -> tuple[int, int, str]:
    """Prints the pieces; how many there were, how many lines made no sense, and what kept the rest
    from coming.
    """
    tokens = malformed = 0
    for line in response.iter_lines():
        if debug and line:
            print(f"\nraw: {line!r}")
        if not line.startswith(b"data: "):
            continue
        data = line[6:]
        if data == b"[DONE]":
            return tokens, malformed, ""
        try:
            chunk = json.loads(data)
            if chunk.get("error"):
                return tokens, malformed, chunk["error"]["message"]
            choices = chunk["choices"]
            content = (choices[0]["delta"].get("content") or "") if choices else ""
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            malformed += 1
            if debug:
                print(f"malformed: {error!r}")
            continue
        if debug:
            print(f"parsed: {json.dumps(chunk)}\ncontent: {content!r}")
        if content:
            tokens += 1
            print(content, end="", flush=True)
    return tokens, malformed, "the stream was cut off"


def main() -> int:
    """Reads the command line."""
    options = argparse.ArgumentParser(
        description="LLMaaS Streaming Demonstration",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("prompt", nargs="?", help=f"what to ask (default: {PROMPT!r})")
    options.add_argument("--model", "-m", help="the model to ask (default: defaults.model)")
    options.add_argument(
        "--debug", "-d", action="store_true", help="show all that is sent and read"
    )
    options.add_argument(
        "--config", "-c", type=Path, default=Path("config.json"), help="(default: config.json)"
    )
    chosen = options.parse_args()
    config = load(chosen.config)
    model = chosen.model or config["defaults"]["model"]
    prompt = chosen.prompt or PROMPT
    print(f"🔧 Configuration:\n   - API: {config['api']['endpoint']}\n   - Model: {model}")
    print("   - Streaming: Enabled (SSE)\n")
    print("🚀 LLMaaS Streaming Demonstration")
    print(f"📊 Model: {model}\n💭 Question: {prompt}\n")
    try:
        return stream(config, model, prompt, debug=chosen.debug)
    except requests.RequestException as error:  # a timeout too
        print(f"\n❌ Connection error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\n⏹️  Stopped.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
