"""Questions that start no generation, and what the gateway finds for them."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from penstock.core.cards import BindingCard, ModelCard, Personality
from penstock.core.events import Timings
from penstock.core.sessions import Session, SessionLine

Operation = Literal[
    "generate",
    "models",
    "model",
    "bindings",
    "binding_models",
    "personalities",
    "model_files",
    "defaults",
    "health",
    "functions",
    "tokenize",
    "detokenize",
    "count_tokens",
    "embed",
    "model_details",
    "loaded_models",
    "load_model",
    "unload_model",
    "delete_model",
    "copy_model",
    "has_blob",
    "put_blob",
    "sessions",
    "session",
    "drop_session",
    "instruct_session",
    "version",
]


class TokensAsk(msgspec.Struct, frozen=True, kw_only=True):
    """`text` to token ids, or `tokens` back to text, by a model's own tokenizer.

    `model` and `binding` as a client names them; empty and `None` mean the default.
    """

    model: str = ""
    binding: str | None = None
    text: str = ""
    tokens: tuple[int, ...] = ()
    add_bos: bool = False
    add_eos: bool = False


class EmbedAsk(msgspec.Struct, frozen=True, kw_only=True):
    """Texts to turn into vectors.

    `truncate`: a text longer than the model's context is cut instead of refused. `param`: how the
    dialect calls the field with the texts, for errors. `dimensions`: shorten the vectors.
    """

    model: str = ""
    binding: str | None = None
    texts: tuple[str, ...] = ()
    dimensions: int | None = None
    truncate: bool = False
    param: str = "input"


class ModelAsk(msgspec.Struct, frozen=True):
    """A binding's model, by the names that a client has for both; empty: the binding's default."""

    model: str = ""
    binding: str | None = None


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """One vector a text, in order. `model`: who answered, by its own name."""

    vectors: tuple[tuple[float, ...], ...]
    input_tokens: int
    model: str = ""
    binding: str = ""
    timings: Timings | None = None


class ModelDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an engine can tell about one model.

    `metadata`: the file's own keys (`llama.context_length` …) with numbers, texts and truths; long
    arrays (vocabularies) are left out. `capabilities` in Ollama's words: `completion`, `tools`,
    `insert`, `vision`, `embedding`, `thinking`. `parameters`: sampling defaults of a created model.
    """

    card: ModelCard
    template: str = ""
    system: str = ""
    license: str = ""
    parameters: Mapping[str, float | int | str | tuple[str, ...]] = {}
    metadata: Mapping[str, int | float | str | bool] = {}
    capabilities: tuple[str, ...] = ("completion",)


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model in memory. Sizes in bytes; `until`: seconds since the epoch, `None` for ever."""

    card: ModelCard
    size: int = 0
    gpu_size: int = 0
    context: int = 0
    until: int | None = None


class CopyAsk(msgspec.Struct, frozen=True):
    """Another name for a stored model."""

    source: str
    destination: str


class BlobAsk(msgspec.Struct, frozen=True):
    """A file by its content: `sha256`, 64 hex digits. Its bytes come as the request's body."""

    sha256: str


class SessionAsk(msgspec.Struct, frozen=True):
    """One's own session, by the id that the client chose."""

    session: str


class SystemAsk(msgspec.Struct, frozen=True):
    """One's own session, and what its system prompt is to be from now on."""

    session: str
    system: str


Ask = TokensAsk | EmbedAsk | ModelAsk | CopyAsk | BlobAsk | SessionAsk | SystemAsk


class Query(msgspec.Struct, frozen=True):
    """A question that starts no stream.

    `name`: the model or binding it is about. `ask`: what else it says, where its operation needs
    more. `form`: the dialect's own note on how to answer; the gateway never reads it. `ignored`:
    published hints that were not honoured, named in the answer.
    """

    operation: Operation
    name: str = ""
    ask: Ask | None = None
    form: str = ""
    ignored: tuple[str, ...] = ()


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway found for a query; only what its operation needs is filled."""

    query: Query
    version: str = ""
    key_required: bool = False
    models: tuple[ModelCard, ...] = ()
    bindings: tuple[BindingCard, ...] = ()
    personalities: tuple[Personality, ...] = ()
    functions: tuple[str, ...] = ()
    defaults: Mapping[str, str | int | None] = {}
    tokens: tuple[int, ...] = ()
    text: str = ""
    embedded: Embedded | None = None
    details: ModelDetails | None = None
    loaded: tuple[LoadedModel, ...] = ()
    session: Session | None = None
    sessions: tuple[SessionLine, ...] = ()
    exists: bool = False
    now: int = 0
