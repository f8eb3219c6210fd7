# "Issue: Missing Final Newline", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
from given import client, prompt

for chunk in client.generate_stream(prompt):
    print(chunk.text, end='', flush=True)
    if chunk.done:
        print()  # Ensure newline at end
        break
