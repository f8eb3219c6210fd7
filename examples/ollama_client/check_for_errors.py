# "1. Always Check for Errors", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from given import client, prompt

for chunk in client.generate_stream(prompt):
    if chunk.error:
        # Handle error appropriately
        print(f"Error: {chunk.error}")
        break
    # Process chunk
