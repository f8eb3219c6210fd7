# "Integration with Existing Code", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from given import config
from penstock.ollama_client import OllamaClient

# Old code - still works
client = OllamaClient(config.ollama)
response = client.generate("Hello")
print(response.text)

# New code - streaming support
for chunk in client.generate_stream("Hello"):
    print(chunk.text, end='', flush=True)
    if chunk.done:
        break
