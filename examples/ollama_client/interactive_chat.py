# "Example 1: Interactive Chat with Streaming", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from penstock.ollama_client import Config, OllamaClient

config = Config.from_defaults()

with OllamaClient(config.ollama) as client:
    while True:
        user_input = input("\nYou: ")
        if user_input.lower() in ['exit', 'quit']:
            break

        print("Assistant: ", end='', flush=True)

        full_response = ""
        for chunk in client.generate_stream(user_input):
            if chunk.error:
                print(f"\nError: {chunk.error}")
                break

            print(chunk.text, end='', flush=True)
            full_response += chunk.text

            if chunk.done:
                print()  # New line
                break
