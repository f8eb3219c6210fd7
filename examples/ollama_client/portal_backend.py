# "Web Backend", from the quick reference 002_2ac218fcc4db437a.txt, in the function that it needs;
# of it only the import is changed.
import json

from penstock.llm_client import get_llm_client


def events(messages):
    llm_client = get_llm_client()
    for chunk in llm_client.generate_stream(messages):
        yield f"data: {json.dumps({'content': chunk})}\n\n"


for event in events([{"role": "user", "content": "Hello!"}]):
    print(event, end="")
