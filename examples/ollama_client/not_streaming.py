# "Method 3: `generate()` - Traditional Non-Streaming", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from penstock.ollama_client import Config, OllamaClient

config = Config.from_defaults()
client = OllamaClient(config.ollama)

# Traditional non-streaming request
response = client.generate("What is Python?")

if response.success:
    print(response.text)
