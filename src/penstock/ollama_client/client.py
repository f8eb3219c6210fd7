"""The client itself."""

from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from penstock.core.errors import EngineProtocolError
from penstock.core.secrets import Secret
from penstock.ollama_client.clocks import Clock, clock_of
from penstock.ollama_client.config import OllamaConfig
from penstock.ollama_client.pool import Pool
from penstock.ollama_client.shapes import ModelInfo, ModelResponse, Tags
from penstock.ollama_client.source import Peer, Question, Source
from penstock.ollama_client.streams import ChunkStream
from penstock.ollama_client.troubles import TroubleError, refusal, shown, unreadable
from penstock.wire import json

_CHECK_SECONDS: Final = 5.0

Options = Mapping[str, object]


class OllamaClient:
    """Asks one server, Penstock or Ollama. Errors are told, never raised.

    One client may be used from many threads, and have any number of streams at a time; connections
    are kept and used again. A context manager: leaving it closes them. The address is taken from
    `config` now; model, options and timeouts are read from it for every request.
    """

    def __init__(self, config: OllamaConfig) -> None:
        self.config = config
        self._generate_url = config.url
        head, found, _ = config.url.rpartition("/api/")
        self._base_url = head if found else config.url.rstrip("/")
        self._tags_url = f"{self._base_url}/api/tags"
        self._session = Pool()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes every connection. A stream that is being read ends with an error that says so."""
        self._session.close()

    # ── answers ──────────────────────────────────────────────────────────────────────────────────

    def generate(
        self,
        prompt: str,
        model: str | None = None,
        stream: bool = False,
        timeout: float | None = None,
        options: Options | None = None,
        *,
        timeout_total: float | None = None,
    ) -> ModelResponse:
        """The whole answer; what had arrived, and why that is all, where it broke off.

        `stream`: whether the server is to send it as it is made. Then `timeout`, in seconds, holds
        for each piece; without, for the server's silence. `options` stand instead of those of the
        configuration.
        """
        asked = self._question(prompt, model, options, stream=stream)
        source = self._source(asked, timeout, timeout_total)
        texts: list[str] = []
        error: str | None = None
        for chunk in source.chunks():
            texts.append(chunk.text)
            if chunk.done:
                error = chunk.error
        return ModelResponse("".join(texts), error is None, error, source.status)

    def generate_stream(
        self,
        prompt: str,
        model: str | None = None,
        timeout: float | None = None,
        options: Options | None = None,
        *,
        timeout_total: float | None = None,
    ) -> ChunkStream:
        """The answer as it arrives. `timeout` holds for each chunk, in seconds, `timeout_total` for
        them all; both begin with the first `next`.

        A connection that is lost is made again, and the answer goes on, where the server is a
        Penstock. The last chunk has `done`, and `error` if the answer is not whole.
        """
        asked = self._question(prompt, model, options, stream=True)
        return ChunkStream(self._source(asked, timeout, timeout_total))

    def open_stream(
        self,
        stream_id: str,
        position: int = 0,
        timeout: float | None = None,
        *,
        timeout_total: float | None = None,
    ) -> ChunkStream:
        """A stream that a Penstock has on record, from `position` (in characters); one that still
        runs is read to its end.
        """
        name = quote(stream_id, safe="")
        found = ChunkStream(self._source(name, timeout, timeout_total))
        found.seek(position)
        return found

    def _question(
        self, prompt: str, model: str | None, options: Options | None, *, stream: bool
    ) -> Question:
        name = model if model is not None else self.config.model_name
        body = {
            "model": name,
            "prompt": prompt,
            "stream": stream,
            "options": self._options() if options is None else dict(options),
        }
        return Question(name, body, stream)

    def _options(self) -> Options:
        found: dict[str, object] = {
            "temperature": self.config.temperature,
            "top_p": self.config.top_p,
        }
        if self.config.num_predict > 0:
            found["num_predict"] = self.config.num_predict
        return found

    def _source(self, asked: Question | str, timeout: float | None, total: float | None) -> Source:
        config = self.config
        begin = partial(clock_of, config, timeout, total)
        return Source(self._session, self._peer, asked, begin)

    @property
    def _peer(self) -> Peer:
        key = self.config.key
        shown = Secret(key) if isinstance(key, str) else key
        return Peer(self._generate_url, f"{self._base_url}/v1/streams", shown)

    # ── what there is ────────────────────────────────────────────────────────────────────────────

    def health_check(self) -> bool:
        """Whether the server answers, within 5 seconds."""
        try:
            self._tags()
        except TroubleError as trouble:
            return trouble.kind == "bad" and trouble.status == 200
        return True

    def list_models(self) -> list[ModelInfo]:
        """What the server offers; nothing where it can't be asked."""
        try:
            found = self._tags()
        except TroubleError:
            return []
        return [ModelInfo(tag.name, tag.size, tag.modified_at) for tag in found.models or ()]

    def get_model_names(self) -> list[str]:
        """The names of what the server offers."""
        return [model.name for model in self.list_models()]

    def model_exists(self, name: str) -> bool:
        """Whether the server lists exactly this name."""
        return name in self.get_model_names()

    def test_connection(self) -> tuple[bool, str]:
        """Whether the server can be used, and what to tell people about it."""
        try:
            found = self._tags()
        except TroubleError as trouble:
            if trouble.status is not None:
                return False, f"[!] Ollama answered with status {trouble.status}: {trouble.message}"
            if trouble.kind == "unreachable":
                return False, f"[!] {trouble.message}"
            base = shown(self._base_url)
            return False, f"[!] Cannot connect to Ollama at {base}: {trouble.message}"
        names = [tag.name for tag in found.models or ()]
        if not names:
            return False, "[!] Connected to Ollama, but it has no models"
        lines = [f"[OK] Connected to Ollama ({len(names)} models)", *(f"  - {n}" for n in names)]
        return True, "\n".join(lines)

    def _tags(self) -> Tags:
        """Raises `TroubleError`."""
        clock = Clock(_CHECK_SECONDS, total=_CHECK_SECONDS)
        peer = self._peer
        with self._session.ask("GET", self._tags_url, peer.headers, None, clock) as exchange:
            if exchange.status != 200:
                raise refusal(exchange.status, exchange.refusal(), None, peer.key)
            data = b"".join(exchange.pieces())
        try:
            return json.decode(data, Tags, EngineProtocolError)
        except EngineProtocolError as error:
            raise unreadable(f"JSON decode error: {error.message}") from error
