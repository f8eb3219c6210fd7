# "Example 2: Progress Indicator", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
import sys
from penstock.ollama_client import Config, OllamaClient

config = Config.from_defaults()
client = OllamaClient(config.ollama)

print("Generating response", end='', flush=True)

tokens = 0
for chunk in client.generate_stream("Explain quantum computing in simple terms"):
    if chunk.error:
        print(f"\nError: {chunk.error}")
        break

    if chunk.text:
        tokens += 1
        # Show progress dots
        if tokens % 5 == 0:
            print('.', end='', flush=True)

    if chunk.done:
        print("\n\nComplete response received!")
        break
