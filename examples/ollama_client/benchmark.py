# "Benchmark Example", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
import time
from penstock.ollama_client import Config, OllamaClient

config = Config.from_defaults()
client = OllamaClient(config.ollama)

prompt = "Write a detailed explanation of Python's GIL"

# Measure non-streaming
start = time.time()
response = client.generate(prompt, stream=False)
non_streaming_time = time.time() - start
print(f"Non-streaming: {non_streaming_time:.2f}s total")

# Measure streaming (time to first token)
start = time.time()
first_token_time = None
for chunk in client.generate_stream(prompt):
    if first_token_time is None and chunk.text:
        first_token_time = time.time() - start
        print(f"Streaming: {first_token_time:.2f}s to first token")
    if chunk.done:
        total_streaming_time = time.time() - start
        print(f"Streaming: {total_streaming_time:.2f}s total")
        break
