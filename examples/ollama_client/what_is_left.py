"""An answer that is given too little time: what had arrived is kept."""

from penstock.ollama_client import Config, OllamaClient

with OllamaClient(Config.from_defaults().ollama) as client:
    answer = client.generate("Tell me a long story.", stream=True, timeout=30, timeout_total=0.05)
    print("Whole:" if answer.success else f"{answer.error}. Until then:", answer.text)
