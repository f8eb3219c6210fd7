"""`get_llm_client()`: a chat's answer as plain strings, for a web backend of one's own.

for text in get_llm_client().generate_stream(messages):
    yield f"data: {json.dumps({'content': text})}\\n\\n"
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Final

from penstock.core.errors import EngineProtocolError, UnsupportedParameterError
from penstock.core.secrets import Secret
from penstock.ollama_client.clocks import clock_of
from penstock.ollama_client.config import Config, OllamaConfig
from penstock.ollama_client.pool import Pool
from penstock.ollama_client.source import Peer, Question, Source

__all__ = ["LLMClient", "get_llm_client"]

_DEFAULT: Final = "default"

Messages = Sequence[Mapping[str, object]]


class LLMClient:
    """Chats with one server, Penstock or Ollama, from any thread.

    The address, key and timeouts are those of `config`, as in `penstock.ollama_client`.
    """

    def __init__(self, config: OllamaConfig) -> None:
        self.config = config
        head, found, _ = config.url.rpartition("/api/")
        self._base = head if found else config.url.rstrip("/")
        self._pool = Pool()

    def generate_stream(  # noqa: PLR0913 - the portal's names, in its order
        self,
        messages: Messages,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        model: str = _DEFAULT,
        tools: Messages | None = None,
        tool_choice: str | None = "auto",
    ) -> Iterator[str]:
        """The answer's text as it arrives. `messages`: objects with `role` and `content`.

        A lost connection is made again where the server is a Penstock. Raises `GatewayError` for
        an answer that is not whole: no error is ever part of the text. Tools are refused with
        `UnsupportedParameterError`, since a text can't show that one is called; without any,
        `tool_choice` says nothing.
        """
        if tools:
            text = "tools: plain strings can't show a call; penstock.Client can"
            raise UnsupportedParameterError(text, param="tools")
        said = {"temperature": temperature, "top_p": top_p, "num_predict": max_tokens}
        options = {name: value for name, value in said.items() if value is not None}
        name = self.config.model_name if model == _DEFAULT else model
        body = {"model": name, "messages": list(messages), "stream": True, "options": options}
        return self._texts(Question(name, body))

    def generate(  # noqa: PLR0913
        self,
        messages: Messages,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        model: str = _DEFAULT,
        tools: Messages | None = None,
        tool_choice: str | None = "auto",
    ) -> str:
        """The same as one text."""
        sampling = (temperature, top_p, max_tokens)
        return "".join(self.generate_stream(messages, *sampling, model, tools, tool_choice))

    def close(self) -> None:
        """Closes every connection."""
        self._pool.close()

    def _texts(self, question: Question) -> Iterator[str]:
        key = self.config.key
        peer = Peer(
            f"{self._base}/api/chat",
            f"{self._base}/v1/streams",
            Secret(key) if isinstance(key, str) else key,
        )
        source = Source(self._pool, peer, question, partial(clock_of, self.config, None, None))
        for chunk in source.chunks():
            if chunk.text:
                yield chunk.text
            if chunk.error is not None:
                raise source.trouble.error if source.trouble else EngineProtocolError(chunk.error)


@cache
def get_llm_client() -> LLMClient:
    """The process's client, made at the first call from `Config.from_defaults()`."""
    return LLMClient(Config.from_defaults().ollama)
