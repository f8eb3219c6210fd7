# "Method 1: `generate_stream()` - Real-time Streaming", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from penstock.ollama_client import Config, OllamaClient

config = Config.from_defaults()
client = OllamaClient(config.ollama)

# Stream response and print in real-time
for chunk in client.generate_stream("Write a short poem about Python"):
    if chunk.error:
        print(f"Error: {chunk.error}")
        break

    print(chunk.text, end='', flush=True)

    if chunk.done:
        print()  # New line at the end
        break
