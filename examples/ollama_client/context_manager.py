# "4. Use Context Manager for Long-Running Sessions", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from given import config, prompt
from penstock.ollama_client import OllamaClient

with OllamaClient(config.ollama) as client:
    for chunk in client.generate_stream(prompt):
        # Process chunks
        pass
# Session automatically closed
