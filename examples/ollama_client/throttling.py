# "Issue: Chunks Arrive Too Fast", from the streaming guide 004_2b59f6b9ee5f5fdc.txt; only imports are changed.
import time

from given import client, prompt

for chunk in client.generate_stream(prompt):
    print(chunk.text, end='', flush=True)
    time.sleep(0.01)  # 10ms delay between chunks
    if chunk.done:
        break
