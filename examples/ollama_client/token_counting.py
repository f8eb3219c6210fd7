# "Streaming with Token Counting", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from penstock.ollama_client import Config, OllamaClient

config = Config.from_defaults()
client = OllamaClient(config.ollama)

token_count = 0
for chunk in client.generate_stream("Explain recursion"):
    if chunk.text:
        # Approximate token count (rough estimate)
        token_count += len(chunk.text.split())
        print(chunk.text, end='', flush=True)

    if chunk.done:
        print(f"\n\nApproximate tokens: {token_count}")
        break
