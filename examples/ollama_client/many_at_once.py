"""One client, many threads: the answers arrive at the same time."""

from concurrent.futures import ThreadPoolExecutor

from penstock.ollama_client import Config, OllamaClient

questions = ["What is streaming?", "Tell me a story.", "Write a haiku about coding."]

with OllamaClient(Config.from_defaults().ollama) as client, ThreadPoolExecutor() as threads:
    answers = threads.map(lambda question: client.generate(question, stream=True), questions)
    for question, answer in zip(questions, answers, strict=True):
        print(question, "->", answer.text if answer.success else answer.error)
