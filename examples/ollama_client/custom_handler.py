# "Custom Streaming Handler", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from given import config
from penstock.ollama_client import OllamaClient

class StreamHandler:
    def __init__(self):
        self.chunks = []
        self.total_chars = 0

    def handle_chunk(self, chunk):
        if chunk.error:
            return False

        self.chunks.append(chunk.text)
        self.total_chars += len(chunk.text)

        print(chunk.text, end='', flush=True)

        return not chunk.done

    def get_full_text(self):
        return ''.join(self.chunks)

# Usage
client = OllamaClient(config.ollama)
handler = StreamHandler()

for chunk in client.generate_stream("Explain Python"):
    if not handler.handle_chunk(chunk):
        break

print(f"\n\nTotal characters: {handler.total_chars}")
