"""`OllamaClient`: the synchronous client of a streaming guide, for Penstock and Ollama alike.

    from penstock.ollama_client import Config, OllamaClient

The names, their fields and their order are those that the guide's programs use.
"""

from penstock.ollama_client.client import OllamaClient
from penstock.ollama_client.config import (
    MODEL_NAME,
    OLLAMA_URL,
    WEB_SEARCH_COMPACT_MODEL,
    Config,
    OllamaConfig,
    ResponseStyle,
    SearchConfig,
    SearchProcessingMethod,
    UIConfig,
)
from penstock.ollama_client.shapes import ModelInfo, ModelResponse, StreamChunk
from penstock.ollama_client.streams import ChunkStream

__all__ = [
    "MODEL_NAME",
    "OLLAMA_URL",
    "WEB_SEARCH_COMPACT_MODEL",
    "ChunkStream",
    "Config",
    "ModelInfo",
    "ModelResponse",
    "OllamaClient",
    "OllamaConfig",
    "ResponseStyle",
    "SearchConfig",
    "SearchProcessingMethod",
    "StreamChunk",
    "UIConfig",
]
