"""LangChain's standard suites on a live Penstock.

Runs in an environment of its own (`locks/clients-langchain.txt`), started by
`tests/outside/test_langchain.py`, which says in the environment where Penstock listens.
`EMBEDDED` cases ask the demo model; `SCRIPTED` ones a scripted upstream through Penstock.
"""

import os
from typing import Any, ClassVar

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

URL = os.environ["PENSTOCK_URL"]
OPENAI = {"base_url": URL + "/v1", "api_key": "none", "max_retries": 0}
ZERO = {"temperature": 0}


class _OpenAI(ChatModelIntegrationTests):
    named: ClassVar[str]
    also: ClassVar[str]

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        # With a base URL of its own this client asks for a stream's usage only when told.
        return {"model": self.named, "max_tokens": 120, "stream_usage": True, **ZERO, **OPENAI}

    @property
    def model_override_value(self) -> str:
        return self.also

    @property
    def supports_json_mode(self) -> bool:
        return True


class TestOpenAIEmbedded(_OpenAI):
    named = "demo"
    also = "demo-again"


class TestOpenAIScripted(_OpenAI):
    named = "scripted"
    also = "scripted-again"


class TestOpenAIUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "demo", **OPENAI}


class TestOpenAIEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return OpenAIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        # LangChain counts tokens with OpenAI's own tables, fetched from the network, unless told.
        return {"model": "demo", "check_embedding_ctx_length": False, **OPENAI}


class _Ollama(ChatModelIntegrationTests):
    named: ClassVar[str]
    also: ClassVar[str]

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOllama

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": self.named, "num_predict": 120, "base_url": URL, **ZERO}

    @property
    def model_override_value(self) -> str:
        return self.also

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def has_tool_choice(self) -> bool:
        return False


class TestOllamaEmbedded(_Ollama):
    named = "demo"
    also = "demo-again"


class TestOllamaScripted(_Ollama):
    named = "scripted"
    also = "scripted-again"


class TestOllamaEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return OllamaEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "demo", "base_url": URL}
