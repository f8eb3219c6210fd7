# "Python", from the quick reference 002_2ac218fcc4db437a.txt: its loop, and what that takes as given.
from penstock.llm_client import get_llm_client

client = get_llm_client()
messages = [{"role": "user", "content": "What is streaming?"}]

# Use generate_stream() instead of generate()
for chunk in client.generate_stream(messages):
    print(chunk, end='', flush=True)
