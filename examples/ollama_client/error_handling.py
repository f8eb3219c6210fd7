# "Example 5: Error Handling", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from penstock.ollama_client import Config, OllamaClient

config = Config.from_defaults()
client = OllamaClient(config.ollama)

try:
    for chunk in client.generate_stream("Explain machine learning"):
        if chunk.error:
            print(f"Stream error: {chunk.error}")
            # Handle different error types
            if "not found" in chunk.error.lower():
                print("Model not available. Please install it first.")
            elif "timeout" in chunk.error.lower():
                print("Request took too long. Try a simpler query.")
            else:
                print("An unexpected error occurred.")
            break

        print(chunk.text, end='', flush=True)

        if chunk.done:
            print()
            break

except KeyboardInterrupt:
    print("\n\nStream interrupted by user.")
except Exception as e:
    print(f"\n\nUnexpected error: {e}")
