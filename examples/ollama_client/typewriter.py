# "Example 4: Typewriter Effect", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
import time
from penstock.ollama_client import Config, OllamaClient

config = Config.from_defaults()
client = OllamaClient(config.ollama)

print("Assistant: ", end='', flush=True)

for chunk in client.generate_stream("Write a haiku about coding"):
    if chunk.error:
        print(f"\nError: {chunk.error}")
        break

    # Print character by character with slight delay
    for char in chunk.text:
        print(char, end='', flush=True)
        time.sleep(0.05)  # 50ms delay per character

    if chunk.done:
        print()
        break
