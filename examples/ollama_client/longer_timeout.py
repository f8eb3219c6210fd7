# "Issue: Stream Hangs", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from penstock.ollama_client import Config, OllamaClient

config = Config.from_defaults()
config.ollama.timeout_first_request = 60  # Increase timeout
client = OllamaClient(config.ollama)
