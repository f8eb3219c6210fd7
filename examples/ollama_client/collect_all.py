# "Method 2: `generate()` with `stream=True` - Collect All", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from penstock.ollama_client import Config, OllamaClient

config = Config.from_defaults()
client = OllamaClient(config.ollama)

# Stream internally but return complete response
response = client.generate(
    "Explain Python decorators",
    stream=True
)

if response.success:
    print(response.text)
else:
    print(f"Error: {response.error}")
