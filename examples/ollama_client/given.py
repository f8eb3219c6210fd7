"""What the fragments of the streaming guide take as given: a client, and something to ask."""

from penstock.ollama_client import Config, OllamaClient, StreamChunk

config = Config.from_defaults()
client = OllamaClient(config.ollama)
prompt = "What is streaming?"
chunk = StreamChunk("A piece of text. ", False)
