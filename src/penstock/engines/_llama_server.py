"""llama.cpp's own server in this process, by xllamacpp.

What it does that one must know (seen in xllamacpp 2026.10):

- Making a server holds the interpreter's lock until the model is there, so the file is read through
  first, without the lock: what remains is mapping it.
- It always listens on a port of loopback, beside our own doors: so that port gets a random key and
  every path of it a random prefix. Nobody is told either. The tokenizer is only to be had there.
- A call ends early only by its callback's answer, and what the callback raises is lost.
- It is closed by being forgotten, which waits for its loop.
- Making vectors is a mode of a server: one in it says nothing, so it takes a second one.
"""

from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from secrets import token_urlsafe
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec
import xllamacpp

from penstock.core.errors import EngineError
from penstock.core.secrets import Secret
from penstock.engines._gguf import ModelFile
from penstock.wire import json

_CONTEXT: Final = 4096
_ALL_LAYERS_THAT_FIT: Final = -1
_PIECE: Final = 4 * 1024 * 1024
_SMALL_MODEL: Final = 100 * 1024 * 1024
# A batch of a prompt can't be interrupted, and holds up everybody else's next token. A processor
# reads no slower in small ones.
_BATCH: Final = 128
_BATCH_ON_GPU: Final = 512
_SILENT: Final = -1
_ANSWER_SECONDS: Final = 60.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a model; `None` leaves the choice to us or to the library."""

    context: int | None
    threads: int | None
    parallel: int
    gpu_layers: int | None
    prompt_cache_mib: int


class _Error(msgspec.Struct, frozen=True):
    message: str = ""


class _Refused(msgspec.Struct, frozen=True):
    error: _Error = _Error()


class _Library(Protocol):
    listening_address: str

    def handle_metrics(self) -> str: ...

    def handle_chat_completions(self, body: bytes, callback: Callable[[bytes], bool]) -> None: ...

    def handle_completions(self, body: bytes, callback: Callable[[bytes], bool]) -> None: ...

    def handle_embeddings(self, body: bytes) -> bytes: ...


def read_through(path: Path, tell: Callable[[int], None]) -> None:
    """Brings a file into the system's cache. `tell` is given how many bytes are there so far.

    Raises `EngineError` when the file can't be read any more.
    """
    buffer = bytearray(_PIECE)
    done = 0
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                done += count
                tell(done)
    except OSError as error:
        raise EngineError(f"{path.name} can't be read: {error.strerror}") from error


class LlamaServer:
    """One loaded model. Made, closed and called on threads: all of it blocks."""

    def __init__(
        self, name: str, file: ModelFile, settings: Settings, *, embedding: bool = False
    ) -> None:
        self._key = Secret(token_urlsafe(32))
        params = _parameters(name, file, settings)
        if embedding:
            _embed(params, file)
        self.context = params.n_ctx // params.n_parallel
        """The longest conversation or text, in tokens."""
        self._prefix = "/" + token_urlsafe(32)
        params.api_keys = [self._key.reveal()]
        params.api_prefix = self._prefix
        try:
            self._library: _Library | None = xllamacpp.Server(params)
        except RuntimeError as error:
            raise EngineError(
                f"llama.cpp can't load {file.path.name}: its architecture "
                f"({file.architecture}) is unknown to it, or there is too little memory"
            ) from error

    @property
    def address(self) -> str:
        """Where it listens, for us alone."""
        return self._library.listening_address if self._library is not None else ""

    def chat(self, body: bytes, report: Callable[[bytes], bool]) -> None:
        """One chat completion: every chunk, as JSON, is reported; a true answer ends it.

        Raises `ValueError` for a request that llama.cpp finds wrong and `RuntimeError` for what it
        can't do; other errors are reported as a chunk with `error`.
        """
        if self._library is not None:
            self._library.handle_chat_completions(body, report)

    def complete(self, body: bytes, report: Callable[[bytes], bool]) -> None:
        """One completion of a text as it is; otherwise like `chat`."""
        if self._library is not None:
            self._library.handle_completions(body, report)

    def embed(self, body: bytes) -> bytes:
        """Vectors, in OpenAI's shape, or an object with `error`. Only of an embedding server."""
        return self._library.handle_embeddings(body) if self._library is not None else b"{}"

    def ask(self, path: str, body: bytes) -> bytes:
        """What its own door answers to a `POST`.

        Raises `ValueError` for a request that llama.cpp finds wrong, else `EngineError`.
        """
        headers = {
            "Authorization": f"Bearer {self._key.reveal()}",
            "Content-Type": "application/json",
        }
        connection = HTTPConnection(urlsplit(self.address).netloc, timeout=_ANSWER_SECONDS)
        try:
            connection.request("POST", self._prefix + path, body, headers)
            response = connection.getresponse()
            data = response.read()
        except (OSError, HTTPException) as error:
            raise EngineError("llama.cpp did not answer") from error
        finally:
            connection.close()
        if response.status == 400:
            raise ValueError(json.decode(data, _Refused, EngineError).error.message)
        if response.status != 200:
            raise EngineError(f"llama.cpp failed (HTTP {response.status})")
        return data

    def metrics(self) -> str:
        """Its counters, as Prometheus' text: what was decoded, how many runs it works on."""
        return self._library.handle_metrics() if self._library is not None else ""

    def close(self) -> None:
        """Frees the model. Only while no call runs."""
        # Closed before its loop has begun, the library waits for that loop for ever (seen under
        # load). Its loop answers this question, so it has begun.
        self.metrics()
        self._library = None


def context_of(file: ModelFile, asked: int | None) -> int:
    """Tokens that one conversation has. `asked`: the setting, if there is one."""
    return asked or min(file.context_length or _CONTEXT, _CONTEXT)


def _parameters(name: str, file: ModelFile, settings: Settings) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(file.path)
    params.model_alias = {name}
    params.n_parallel = settings.parallel
    params.n_ctx = context_of(file, settings.context) * settings.parallel
    params.cache_ram_mib = settings.prompt_cache_mib
    # A second thread waits longer for the first than a small model computes.
    threads = settings.threads or (1 if file.size < _SMALL_MODEL else None)
    if threads is not None:
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = threads
    layers = settings.gpu_layers
    params.n_gpu_layers = _ALL_LAYERS_THAT_FIT if layers is None else layers
    # Fitting loads the file's header once more, and there is nothing to fit without a GPU.
    on_gpu = layers != 0 and _has_gpu()
    params.fit_params = layers is None and on_gpu
    params.n_batch = _BATCH_ON_GPU if on_gpu else _BATCH
    params.warmup = False
    params.verbosity = _SILENT
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_metrics = True
    params.n_threads_http = 1
    return params


def _embed(params: xllamacpp.CommonParams, file: ModelFile) -> None:
    """Turns the parameters of a server that talks into those of one that makes vectors."""
    params.embedding = True
    if not file.embeds:
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.n_ctx //= params.n_parallel
    params.n_parallel = 1
    # A text has to fit into one batch.
    params.n_batch = params.n_ubatch = params.n_ctx
    params.cache_ram_mib = 0


def _has_gpu() -> bool:
    kinds = xllamacpp.ggml_backend_dev_type
    gpus = (kinds.GGML_BACKEND_DEVICE_TYPE_GPU, kinds.GGML_BACKEND_DEVICE_TYPE_IGPU)
    return any(device["type"] in gpus for device in xllamacpp.get_device_info())
