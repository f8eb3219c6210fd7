"""Wind an answer back and forth, and open it again from the server's record."""

from penstock.ollama_client import Config, OllamaClient

with OllamaClient(Config.from_defaults().ollama) as client:
    stream = client.generate_stream("What is streaming?")
    print("All of it:", "".join(chunk.text for chunk in stream))

    stream.seek(8)  # a position is a number of characters
    print("From the ninth character:", "".join(chunk.text for chunk in stream))

    if stream.stream_id is not None:  # the server is a Penstock
        again = client.open_stream(stream.stream_id, position=8)
        print("The same, on record:", "".join(chunk.text for chunk in again))
