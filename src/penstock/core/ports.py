"""The seams. Implementations live in sibling packages and never import each other."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import ClassVar, Literal, Protocol, runtime_checkable

import msgspec

from penstock.core.cards import ModelCard
from penstock.core.errors import GatewayError
from penstock.core.events import Blob, Entry, Event, Seq, StreamId
from penstock.core.folding import Reply
from penstock.core.queries import (
    EmbedAsk,
    Embedded,
    Found,
    LoadedModel,
    ModelDetails,
    Operation,
    Query,
    TokensAsk,
)
from penstock.core.request import Modality, Request

# ── engines ──────────────────────────────────────────────────────────────────────────────────────


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Three clocks, in seconds. An upstream's heartbeat never resets a token clock."""

    connect: float = 10.0
    first_token: float = 120.0
    between_tokens: float = 60.0


class Engine(Protocol):
    """Turns a request into events. A module of `engines/` has this and its `Config`.

    What moves is a batch: all events that one read from the upstream held, in order; an event
    alone is
    a batch of one, never held back to fill another. Before anything is known to go well the engine
    raises a `GatewayError`; it yields an **empty batch** as soon as the upstream has accepted the
    request, if it can tell, so that response headers need not wait for the first token. After that
    it may raise too: the run writes `Failed`. It ends with `Done` or `Failed`; `Start` is the
    run's.

    Closing the iterator (or cancelling the task that drives it) stops the work upstream: the
    connection closes, or decoding stops, within 100 ms.
    """

    description: ClassVar[str]
    """One sentence for listings."""
    outputs: ClassVar[tuple[Modality, ...]]

    @property
    def supports(self) -> frozenset[str]:
        """The feature names of `core.request.features` that it can honour: of its class, or as it
        is configured.
        """

    async def start(self) -> None:
        """Makes ready, in the background of the server's start. Raises to say why it can't."""

    def stream(self, request: Request) -> AsyncIterator[Sequence[Event]]:
        """Runs `request`, whose `model` is a name of this engine's own."""

    async def models(self) -> Sequence[ModelCard]:
        """What it can run."""

    async def aclose(self) -> None:
        """Frees everything. Called once."""


@runtime_checkable
class Tokenizer(Protocol):
    """An engine that has its models' tokenizers. `model` is a name of the engine's own.

    Raises `ModalityError` when this server or model has none.
    """

    async def tokenize(self, ask: TokensAsk) -> Sequence[int]:
        """The ids of `ask.text`, with the model's own BOS and EOS where asked for."""

    async def detokenize(self, ask: TokensAsk) -> str:
        """The text of `ask.tokens`. Raises `InvalidRequestError` for ids that there are not."""


@runtime_checkable
class Embedder(Protocol):
    """An engine that makes vectors of texts. Raises `ModalityError` when this model can't."""

    async def embed(self, ask: EmbedAsk) -> Embedded:
        """One vector a text, in order."""


@runtime_checkable
class Describer(Protocol):
    """An engine that knows its models' files. `model` is a name of the engine's own."""

    async def describe(self, model: str) -> ModelDetails:
        """Raises `UnknownModelError`."""

    async def loaded(self) -> Sequence[LoadedModel]:
        """What is in memory now."""

    async def load(self, model: str) -> None:
        """Takes a model into memory."""

    async def unload(self, model: str) -> None:
        """Lets go of it, once what runs on it has ended."""


class Album(Protocol):
    """The pictures of one stream: those that came with its request, and those that it makes."""

    async def keep(self, data: bytes, media_type: str) -> Blob:
        """Keeps a picture beside the log, before an event names it. Raises
        `LogUnavailableError`.
        """

    async def get(self, blob: Blob) -> bytes:
        """The bytes of one. Raises `UnknownStreamError` when the stream has no such picture."""


@runtime_checkable
class Painter(Protocol):
    """An engine that makes pictures. What `Engine.stream` promises holds here too."""

    def paint(self, request: Request, album: Album) -> AsyncIterator[Sequence[Event]]:
        """Runs a request whose `modality` is `image`: `Progress` while it works, with previews
        where there are any, one `Image` a picture, `Usage`, `Done`.

        The inputs and the mask of `request.image` are blobs of `album`, checked and within bounds.
        """


# ── dialects ─────────────────────────────────────────────────────────────────────────────────────

FramingName = Literal["sse", "ndjson"]


class Route(msgspec.Struct, frozen=True):
    """One route: method, path template and what it does.

    `{name}` in a template matches one path segment, `{name:path}` the rest of the path.
    `open`: answered without a key. `media_type`: what a body may be besides JSON.
    """

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    operation: Operation
    open: bool = False
    media_type: str = ""


class Call(msgspec.Struct, frozen=True):
    """One request as it came. Header names are lower case; values are decoded as Latin-1."""

    route: Route
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Shown(msgspec.Struct, frozen=True):
    """A kept picture where an answer shows it: its bytes in base64, or an address for them.

    An encoder never sees a picture's bytes: it leaves a place (`wire.pictures.PLACE`), and the
    transport fills it.
    """

    blob: Blob
    form: Literal["base64", "address"] = "base64"


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One dialect message, before framing: SSE, NDJSON, WebSocket and MQTT all carry these.

    `pictures`: what fills the places in `data`, in order.
    """

    data: bytes
    event: str | None = None
    pictures: tuple[Shown, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """A whole response. `content-length` is added by the transport.

    `pictures`: what fills the places in `body`, in order, as in a `Frame`.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}
    pictures: tuple[Shown, ...] = ()


class Opening(msgspec.Struct, frozen=True):
    """How a streamed response begins, beats and breaks.

    `abort_on_failure`: after a `Failed` event the connection is reset, because the clients of this
    dialect would take a clean close for success. `headers` are added to those of every stream.
    `most_bytes`: the longest write, for clients that can't read an event from two reads; whole
    events only, and one that is longer by itself is a write of its own. 0: no limit.
    """

    framing: FramingName
    abort_on_failure: bool
    headers: Mapping[str, str] = {}
    most_bytes: int = 0


class Encoder(Protocol):
    """Renders one stream. A pure function of (request, entries): no clock, no uuid, no I/O."""

    def feed(self, entry: Entry) -> Iterable[Frame]:
        """The frames of one entry, in order; may be none."""


class Dialect(Protocol):
    """One public API shape, both directions. A module of `dialects/` has a class of this name."""

    name: ClassVar[str]
    prefixes: ClassVar[tuple[str, ...]]
    """Paths under which errors, also those before routing, have this dialect's shape."""
    routes: ClassVar[tuple[Route, ...]]
    credentials: ClassVar[tuple[str, ...]]
    """Lower-case names of headers that may hold the key, in order. For `authorization`:
    `Bearer`.
    """

    def parse(self, call: Call) -> Request | Query:
        """Raises `InvalidRequestError` whose `param` is the field's path."""

    def opening(self, request: Request) -> Opening:
        """For a request with `stream`."""

    def encoder(self, request: Request) -> Encoder:
        """A fresh encoder, for a stream from its beginning."""

    def whole(self, request: Request, reply: Reply) -> Answer:
        """The same reply, not streamed. `reply.failed` is `None`: failures go through `error`."""

    def answer(self, found: Found) -> Answer:
        """Lists and cards."""

    def error(self, error: GatewayError) -> Answer:
        """An error before the stream has begun. Maps every class of `core.errors`."""


# ── stream logs ──────────────────────────────────────────────────────────────────────────────────

OnDisconnect = Literal["cancel", "finish", "linger"]
StreamState = Literal["live", "done", "failed", "cancelled", "interrupted"]


class Head(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first record of a stream: who asked for what, and in which dialect.

    `created` in milliseconds since the epoch; `binding` and `model` are what was chosen to answer.
    """

    stream: str
    owner: str
    dialect: str
    created: int
    binding: str
    model: str
    request: Request
    on_disconnect: OnDisconnect = "finish"
    linger_seconds: float = 0.0


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a listing. Times in milliseconds since the epoch; `bytes` as stored."""

    stream: str
    owner: str
    dialect: str
    binding: str
    model: str
    state: StreamState
    created: int
    ended: int | None
    events: int
    bytes: int


class LogStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the log fares. `unsynced_seconds`: age of the oldest byte not yet on stable storage."""

    writable: bool
    trouble: str | None
    live: int
    bytes: int
    backlog_bytes: int
    unsynced_seconds: float


class Reader(Protocol):
    """One reader's place in one stream."""

    async def take(self) -> Sequence[Entry]:
        """All entries in the log since the last take, waiting for one; empty once the stream
        ended.
        """

    async def flow(self, sink: Callable[[Sequence[Entry]], bool]) -> None:
        """Gives `sink` what comes next the moment it is in the log, while it returns true.

        For a reader that has taken all there is: it saves a wake-up for each batch. It may return
        at any time, at once too; whoever called goes on with `take`, and nothing is lost or given
        twice. `sink` may not wait; what it raises is raised here.
        """

    def close(self) -> None:
        """Lets go of the stream. Idempotent."""


class StreamLog(Protocol):
    """Append-only; one writer a stream, many readers. What a reader is given is in the log.

    In the log means: the `write` of its record has returned, so it survives the death of the
    process.
    A stream that this log does not hold raises `UnknownStreamError` everywhere.
    """

    def create(self, head: Head) -> None:
        """Begins a stream. Hands over and returns at once; raises `LogUnavailableError`."""

    def append(self, stream: StreamId, events: Sequence[Event]) -> Seq:
        """Hands a batch over and returns the seq of its last event at once.

        Raises `LogUnavailableError`, or `LogFullError` past the backlog, and then has taken
        nothing.
        """

    async def settled(self, stream: StreamId) -> Seq:
        """Waits until all that was handed over is in the log, readers included; its last seq.

        Raises `LogUnavailableError` when it never will be.
        """

    def reader(self, stream: StreamId, after: Seq) -> Reader:
        """A reader whose first entry is the one after `after`."""

    async def head(self, stream: StreamId) -> Head:
        """The head, once it is in the log."""

    async def info(self, stream: StreamId) -> StreamInfo:
        """One stream's line."""

    async def recent(self, owner: str | None, limit: int) -> Sequence[StreamInfo]:
        """The newest first; of every owner when `owner` is `None`."""

    async def put_blob(self, stream: StreamId, data: bytes, media_type: str) -> Blob:
        """Keeps bytes beside the log, on stable storage, for as long as the stream is kept.

        To be called before the head or event that names the result is handed over; the stream may
        not have begun yet. The same bytes are kept once. Raises `LogUnavailableError`.
        """

    async def blob(self, stream: StreamId, sha256: str) -> bytes:
        """Bytes kept for a stream. Raises `UnknownStreamError` when it has none of that name."""

    async def erase(self, stream: StreamId) -> None:
        """Makes the content of an ended stream unreadable, on disk too."""

    def status(self) -> LogStatus:
        """How it fares, without waiting."""

    async def aclose(self) -> None:
        """Writes all that was handed over, then lets go of the files."""
