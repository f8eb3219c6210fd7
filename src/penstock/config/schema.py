"""Every setting, once: validation, defaults, environment, flags, docs and example come from here.

A field's `description` is its documentation; `ge`, `le` and the type are its validation.
"""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from penstock.config._mqtt import Mqtt as Mqtt
from penstock.config._mqtt import MqttProject as MqttProject
from penstock.config._mqtt import ProjectName as ProjectName
from penstock.config._section import Count, Positive
from penstock.core.ports import OnDisconnect, Timeouts
from penstock.core.secrets import Secret

Port = Annotated[int, Meta(ge=0, le=65535)]


class _Section(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    pass


class Server(_Section, frozen=True):
    """Where the gateway listens, and what it lets in."""

    host: Annotated[
        str,
        Meta(
            min_length=1,
            description="Address to listen on. Anything but loopback needs a key, in `[security]` "
            "or made with `penstock keys`, or `insecure`.",
        ),
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="TCP port; 0 picks a free one.")] = 9601
    also_listen: Annotated[
        tuple[Port, ...],
        Meta(
            description="Further ports with the same routes, for clients whose address is fixed, "
            "such as 11434 (Ollama's) and 8000. One that is taken is a warning."
        ),
    ] = ()
    insecure: Annotated[
        bool,
        Meta(description="Listen beyond loopback without any key, for everybody."),
    ] = False
    allowed_origins: Annotated[
        tuple[str, ...],
        Meta(
            description="Web pages that may call the gateway from a browser. An entry without a "
            "port allows every port. `null` (pages opened from a file) counts only when a key "
            "is configured."
        ),
    ] = ("http://localhost", "http://127.0.0.1", "null")
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Names besides loopback that a request's `Host` may carry while no key is "
            "configured."
        ),
    ] = ()
    max_body_bytes: Annotated[Count, Meta(description="Largest request body; more is 413.")] = (
        20 * 1024 * 1024
    )
    max_upload_bytes: Annotated[
        Count, Meta(description="Largest file that may be uploaded to the model store.")
    ] = 64 * 1024**3
    max_headers: Annotated[Count, Meta(description="Most headers of a request; more is 431.")] = 100
    max_header_bytes: Annotated[
        Count, Meta(description="Most bytes of request line and headers; more is 431.")
    ] = 64 * 1024
    header_seconds: Annotated[
        Positive, Meta(description="Time for a request's headers to arrive; longer is 408.")
    ] = 10.0
    body_seconds: Annotated[
        Positive, Meta(description="Longest silence within a request's body; longer is 408.")
    ] = 20.0
    heartbeat_seconds: Annotated[
        Annotated[float, Meta(gt=0, le=10)],
        Meta(description="Silence after which a stream's connection gets a heartbeat."),
    ] = 10.0
    opening_seconds: Annotated[
        Positive,
        Meta(
            description="How long a streamed response waits for the engine's first sign before its "
            "headers leave; within it an error is still an HTTP status."
        ),
    ] = 5.0
    max_runs: Annotated[
        Count, Meta(description="Runs at a time in this process; more is 429 with `Retry-After`.")
    ] = 4096


class Security(_Section, frozen=True):
    """Who may ask."""

    allowed_api_keys: Annotated[
        tuple[Secret, ...],
        Meta(
            description="Keys that clients may present. Without any, here or made with `penstock "
            "keys`, none is needed, and only this machine is answered."
        ),
    ] = ()
    admin_keys: Annotated[
        tuple[Secret, ...],
        Meta(
            description="Keys that also see and end other keys' streams, and may pull, create and "
            "delete models."
        ),
    ] = ()


class Defaults(_Section, frozen=True):
    """What answers when a request names nothing."""

    ttt_binding: Annotated[str | None, Meta(description="Binding for text.")] = None
    tti_binding: Annotated[str | None, Meta(description="Binding for images.")] = None
    tts_binding: Annotated[str | None, Meta(description="Binding for speech.")] = None
    stt_binding: Annotated[str | None, Meta(description="Binding for transcription.")] = None
    ttv_binding: Annotated[str | None, Meta(description="Binding for video.")] = None
    ttm_binding: Annotated[str | None, Meta(description="Binding for music.")] = None
    default_context_size: Annotated[
        int,
        Meta(
            ge=64,
            description="Tokens that a session's history is fitted into where an engine does not "
            "say its model's context.",
        ),
    ] = 4096
    default_max_output_tokens: Annotated[
        Count,
        Meta(
            description="`max_tokens` of lollms requests that name none, and the room that a "
            "session leaves for such an answer."
        ),
    ] = 1024


class Model(_Section, frozen=True):
    """`[models.ALIAS]`: another name for a binding's model, with defaults of its own.

    `[models."*"]` answers every name that nothing else here has, and says so in
    `Penstock-Ignored`.
    """

    binding: Annotated[str, Meta(description="A binding's name.")]
    name: Annotated[
        str, Meta(description="The model's name there; empty: the binding's default.")
    ] = ""
    fallback: Annotated[
        tuple[str, ...],
        Meta(description="Aliases or models to try, in order, while nothing has been said yet."),
    ] = ()
    temperature: Annotated[float, Meta(ge=0, le=5, description="Default temperature.")] | None = (
        None
    )
    top_p: Annotated[float, Meta(ge=0, le=1, description="Default top-p.")] | None = None
    max_tokens: Annotated[int, Meta(ge=1, description="Default limit of the answer.")] | None = None
    system: Annotated[
        str | None, Meta(description="System prompt for conversations that have none.")
    ] = None


class PersonalityTable(_Section, frozen=True):
    """`[personalities.NAME]`: a system prompt with a name, in lollms' vocabulary."""

    personality_conditioning: Annotated[str, Meta(description="The system prompt.")]
    author: Annotated[str, Meta(description="Who wrote it.")] = ""
    version: Annotated[str, Meta(description="Its version.")] = "1.0"
    personality_description: Annotated[str, Meta(description="One line about it.")] = ""
    category: Annotated[str, Meta(description="For listings.")] = "generic"
    language: Annotated[str, Meta(description="For listings.")] = "english"
    tags: Annotated[tuple[str, ...], Meta(description="For listings.")] = ()
    model_temperature: Annotated[float, Meta(ge=0, le=5, description="`temperature`.")] | None = (
        None
    )
    model_n_predicts: Annotated[int, Meta(ge=1, description="`max_tokens`.")] | None = None
    model_top_k: Annotated[int, Meta(ge=0, description="`top_k`.")] | None = None
    model_top_p: Annotated[float, Meta(ge=0, le=1, description="`top_p`.")] | None = None
    model_repeat_penalty: Annotated[float, Meta(gt=0, description="`repeat_penalty`.")] | None = (
        None
    )
    model_repeat_last_n: Annotated[int, Meta(ge=0, description="`repeat_last_n`.")] | None = None


class Personalities(_Section, frozen=True):
    """`[personalities]`: which personalities may run their scripts; tables below it are
    personalities.
    """

    named: ClassVar[str] = "tables"

    scripts: Annotated[
        tuple[str, ...],
        Meta(
            description="Names of personalities of the folder whose `script_path` may be run. A "
            "script runs with all rights of the server; none runs that is not named here."
        ),
    ] = ()
    tables: dict[str, PersonalityTable] = {}


class Functions(_Section, frozen=True):
    """Functions of your own that a model may call, and that the server runs."""

    modules: Annotated[
        tuple[str, ...],
        Meta(
            description="Modules of `[paths] functions_folder` to load, without `.py`. They run "
            "with all rights of the server; none is loaded that is not named here."
        ),
    ] = ()
    timeout_seconds: Annotated[
        Positive, Meta(description="How long one call may take; longer is told to the model.")
    ] = 30.0


class Streams(_Section, frozen=True):
    """The stream log, and what happens to a run whose client has gone."""

    log: Annotated[
        Literal["journal", "memory"],
        Meta(description="`journal` survives the process; `memory` forgets with it."),
    ] = "journal"
    folder: Annotated[
        str | None,
        Meta(description="Where the journal lies; default `penstock/streams` in the state folder."),
    ] = None
    sync: Annotated[
        Literal["interval", "always", "off"],
        Meta(
            description="When the journal is forced to the disk: every 100 ms, before readers see "
            "an event, or never. What was read survives the death of the process in any case."
        ),
    ] = "interval"
    retention_days: Annotated[Positive, Meta(description="Older streams are forgotten.")] = 7.0
    retention_bytes: Annotated[
        Count, Meta(description="Beyond this the oldest segments are forgotten.")
    ] = 2 * 1024**3
    segment_bytes: Annotated[
        int, Meta(ge=64 * 1024, description="Size at which a new segment file begins.")
    ] = 64 * 1024**2
    max_backlog_bytes: Annotated[
        Count, Meta(description="Unwritten bytes at which engines are made to wait.")
    ] = 8 * 1024**2
    on_disconnect: Annotated[
        OnDisconnect,
        Meta(
            description="When a stream's last reader is lost: `cancel` the run, `finish` it, or "
            "`linger` for a reader to come back, then cancel. A request may choose otherwise with "
            "the header `Penstock-On-Disconnect`."
        ),
    ] = "linger"
    linger_seconds: Annotated[Positive, Meta(description="How long `linger` waits.")] = 60.0


class Sessions(_Section, frozen=True):
    """Conversations that the gateway keeps: one turn at a time in each."""

    busy: Annotated[
        Literal["refuse", "queue"],
        Meta(
            description="What happens to a message while an answer in its session still runs: "
            "`refuse` it with 409 and `Retry-After`, or `queue` it."
        ),
    ] = "refuse"
    max_waiting: Annotated[
        Count, Meta(description="Messages that may wait in one session; more are refused.")
    ] = 8
    wait_seconds: Annotated[
        Positive, Meta(description="How long a message waits for its turn; then it is refused.")
    ] = 60.0


class Stores(_Section, frozen=True):
    """The database of sessions and keys."""

    url: Annotated[
        Secret | None,
        Meta(
            description="`postgresql://USER:PASSWORD@HOST/NAME`, or `sqlite:////PATH`; default: "
            "`penstock/stores.sqlite` in the data folder. It is never shown."
        ),
    ] = None


class Images(_Section, frozen=True):
    """Bounds of what may be asked for in pictures; checked before anything is queued."""

    max_pixels: Annotated[
        Count, Meta(description="Width times height of a picture to make; more is refused.")
    ] = 4 * 1024 * 1024
    max_side: Annotated[Count, Meta(description="Longest side of a picture to make.")] = 4096
    max_steps: Annotated[Count, Meta(description="Most steps of one picture.")] = 150
    max_count: Annotated[Count, Meta(description="Most pictures of one request.")] = 10
    max_inputs: Annotated[Count, Meta(description="Most input pictures of one request.")] = 16
    max_input_bytes: Annotated[Count, Meta(description="Largest input picture, as a file.")] = (
        20 * 1024 * 1024
    )
    max_input_pixels: Annotated[
        Count, Meta(description="Width times height of an input picture, once decoded.")
    ] = 32 * 1024 * 1024
    allow_urls: Annotated[
        bool,
        Meta(
            description="Whether input pictures may be named by an `https:` address, which the "
            "gateway fetches. Private addresses are never fetched."
        ),
    ] = False
    url_seconds: Annotated[
        Count,
        Meta(description="How long an address that the gateway gives for a picture is good."),
    ] = 3600


class Paths(_Section, frozen=True):
    """Folders of yours that the gateway reads."""

    personalities_folder: Annotated[
        str | None,
        Meta(description="Folders with a `config.yaml` each, in lollms' format."),
    ] = None
    functions_folder: Annotated[
        str | None,
        Meta(description="Python files with functions that a model may call; see `[functions]`."),
    ] = None
    models_folder: Annotated[
        str | None,
        Meta(
            description="Where pulled and created models lie; default `penstock/models` in the "
            "data folder."
        ),
    ] = None


class ClientApi(_Section, frozen=True):
    """`[client.api]`: which endpoint `penstock stream` and `chat` talk to."""

    endpoint: Annotated[str | None, Meta(description="OpenAI-compatible base URL, with `/v1`.")] = (
        None
    )
    token: Annotated[Secret | None, Meta(description='Its key; or `{ env = "NAME" }`.')] = None


class ClientDefaults(_Section, frozen=True):
    """`[client.defaults]`: what `penstock stream` and `chat` ask for."""

    model: Annotated[str | None, Meta(description="Model.")] = None
    max_tokens: Annotated[Count, Meta(description="Limit of the answer.")] = 300
    temperature: Annotated[float, Meta(ge=0, le=5, description="Temperature.")] = 0.8
    timeout: Annotated[
        Positive, Meta(description="Seconds for connecting, and the longest silence.")
    ] = 30.0


class Client(_Section, frozen=True):
    """Settings of the command-line clients; `config.json` has the same keys."""

    api: ClientApi = ClientApi()
    defaults: ClientDefaults = ClientDefaults()


class Config(_Section, frozen=True):
    """`config.toml`. `bindings` stay tables here: each engine has its own `Config` for its own."""

    server: Server = Server()
    security: Security = Security()
    defaults: Defaults = Defaults()
    bindings: dict[str, dict[str, object]] = {}
    models: dict[str, Model] = {}
    personalities: Personalities = Personalities()
    functions: Functions = Functions()
    streams: Streams = Streams()
    sessions: Sessions = Sessions()
    images: Images = Images()
    stores: Stores = Stores()
    timeouts: Timeouts = Timeouts()
    paths: Paths = Paths()
    mqtt: Mqtt = Mqtt()
    client: Client = Client()
