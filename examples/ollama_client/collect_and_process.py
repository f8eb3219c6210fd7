# "Example 3: Collect and Process Streaming Response", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from penstock.ollama_client import Config, OllamaClient

config = Config.from_defaults()
client = OllamaClient(config.ollama)

chunks = []
for chunk in client.generate_stream("List 5 Python best practices"):
    if chunk.error:
        print(f"Error: {chunk.error}")
        break

    if chunk.text:
        chunks.append(chunk.text)

    if chunk.done:
        break

# Process complete response
full_text = ''.join(chunks)
print(f"Generated {len(chunks)} chunks")
print(f"Total length: {len(full_text)} characters")
print(f"\nResponse:\n{full_text}")
