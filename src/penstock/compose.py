"""The composition root: configuration to objects. The only module that names implementations."""

import asyncio
import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Final, cast

import msgspec

from penstock import registry
from penstock.config import loading, paths, personalities
from penstock.config.schema import Config
from penstock.core.errors import ConfigError
from penstock.core.pictures import PictureReader
from penstock.core.ports import Dialect, Engine, StreamLog
from penstock.core.stores import ModelStore
from penstock.gateway.addresses import Addresses
from penstock.gateway.bindings import Binding
from penstock.gateway.gateway import Gateway, Parts, now_ms
from penstock.gateway.metrics import Metrics
from penstock.gateway.own_code import load_own_code
from penstock.stores import LateKeys, LateSessions
from penstock.stores.models import Models

EMBEDDED: Final = Path(__file__).parent / "models"
OLLAMA_URL: Final = "http://127.0.0.1:11434"


class Serving(msgspec.Struct, frozen=True):
    """A server that accepts connections."""

    url: str
    gateway: Gateway


def implicit_bindings(environment: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """What answers without any `[bindings]`: a small model, a local Ollama, OpenAI's variables."""
    found: dict[str, dict[str, object]] = {
        "embedded": {"engine": "llamacpp"},
        "ollama": {"engine": "ollama", "url": OLLAMA_URL, "refuse_penstock": True},
    }
    key, url = environment.get("OPENAI_API_KEY"), environment.get("OPENAI_BASE_URL")
    if key or url:
        table: dict[str, object] = {"engine": "openai"}
        if key:
            table["key"] = {"env": "OPENAI_API_KEY"}
        if url:
            table["url"] = url
        found["openai"] = table
    return found


@asynccontextmanager
async def open_gateway(
    config: Config, environment: Mapping[str, str] | None = None, *, stored_keys: bool = True
) -> AsyncIterator[Gateway]:
    """A gateway on this configuration, in this process. Its bindings come up in the background.

    `stored_keys=False`: nobody will present a key, so the store of keys need not be opened. Raises
    `ConfigError` for what is wrong before anything starts, `UnavailableError` when the keys can't
    be read.
    """
    environment = os.environ if environment is None else environment
    metrics = Metrics()
    store = model_store(config)
    found = bindings(config, environment, store)
    check_names(config, found)
    speakers = personalities.load(config)
    own = load_own_code(config, personalities.scripts(config), speakers)
    await store.collect()
    log = await _open_log(config, metrics)
    parts = Parts(
        config=config,
        log=log,
        bindings=found,
        dialects=dialects(),
        personalities=speakers,
        version=version("penstock"),
        metrics=metrics,
        own=own,
        models=store,
        sessions=LateSessions(config.stores, paths.stores_file()),
        keys=LateKeys(config.stores, paths.stores_file()) if stored_keys else None,
        pictures=_picture_reader(config, found),
        addresses=_picture_addresses(config, found),
    )
    async with Gateway(parts) as gateway:
        yield gateway


async def serve(
    config: Config,
    on_ready: Callable[[Serving], None],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM. `on_ready` is called once connections are accepted."""
    await check_exposure(config)
    app_module = registry.load("transports", "http")
    async with open_gateway(config, environment) as gateway:
        app = app_module.create_app(gateway, config.server)

        def ready(port: int) -> None:
            host = config.server.host
            shown = f"[{host}]" if ":" in host else host
            on_ready(Serving(f"http://{shown}:{port}", gateway))

        async with _bridge(config, gateway):
            await app_module.run(app, config.server, ready)


@asynccontextmanager
async def _bridge(config: Config, gateway: Gateway) -> AsyncIterator[None]:
    """To the MQTT broker, where one is configured. One that is away is no error."""
    if not config.mqtt.url:
        yield
        return
    folder = paths.streams_folder(config).absolute()
    place = f"{socket.gethostname()}:{folder}"
    identity = f"penstock-{sha256(place.encode()).hexdigest()[:16]}"
    async with registry.load("transports", "mqtt").Bridge(gateway, config.mqtt, identity, folder):
        yield


def serving_loop() -> asyncio.AbstractEventLoop:
    """The event loop that `serve` is fastest on."""
    loop: asyncio.AbstractEventLoop = registry.load("transports", "http").new_loop()
    return loop


async def check_exposure(config: Config) -> None:
    """Raises `ConfigError` when the gateway would be open to the network without a key."""
    server, security = config.server, config.security
    keyed = security.allowed_api_keys or security.admin_keys
    if keyed or server.insecure or is_loopback(server.host) or await _has_stored_keys(config):
        return
    raise ConfigError(
        f"server.host is {server.host!r}, which others can reach, and there is no key: make one "
        "with `penstock keys create`, set [security] allowed_api_keys, or start with --insecure if "
        "everybody may use it",
        param="server.host",
    )


async def _has_stored_keys(config: Config) -> bool:
    keys = LateKeys(config.stores, paths.stores_file())
    try:
        return bool(await keys.all())
    finally:
        await keys.aclose()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def model_store(config: Config) -> Models:
    """The models of one's own. Nothing is made or read yet."""
    return Models(
        paths.models_folder(config),
        check=_check_model,
        embedded={path.stem: path for path in EMBEDDED.glob("*.gguf")},
    )


def _check_model(path: Path) -> None:
    """By the reader of the engine that is to run it."""
    registry.load("engines", "llamacpp").check_file(path)


def bindings(
    config: Config, environment: Mapping[str, str], store: ModelStore | None = None
) -> list[Binding]:
    """Every `[bindings.NAME]` as an object; nothing is started.

    An engine whose settings have a `models_folder`, and no `path` of their own, serves the store.
    """
    tables = config.bindings or implicit_bindings(environment)
    found = []
    for name, table in tables.items():
        engine_name = loading.engine_of(name, table)
        module = registry.load("engines", engine_name)
        if store is not None and "path" not in table and _takes_folder(module.Config):
            table = {"models_folder": store.folder, **table}
        settings = loading.convert_binding(name, table, module.Config, environment)
        try:
            engine = cast("Engine", module.Engine(settings, config.timeouts))
        except ConfigError as error:  # an engine doesn't know what its binding is called
            param = ".".join(["bindings", name, *([error.param] if error.param else [])])
            raise ConfigError(f"{param}: {error.message}", param=param) from error
        found.append(
            Binding(
                name,
                engine_name,
                engine,
                model=getattr(settings, "model", None),
                url=getattr(settings, "url", None),
                optional=not config.bindings and name == "ollama",
            )
        )
    return found


def _takes_folder(settings: type[msgspec.Struct]) -> bool:
    return "models_folder" in settings.__struct_fields__


def check_names(config: Config, found: list[Binding]) -> None:
    """Raises `ConfigError` when an alias or a default names a binding that is not there."""
    known = {binding.name for binding in found}
    named = {f"models.{alias}.binding": model.binding for alias, model in config.models.items()}
    for field in config.defaults.__struct_fields__:
        if field.endswith("_binding") and getattr(config.defaults, field):
            named[f"defaults.{field}"] = getattr(config.defaults, field)
    for path, binding in named.items():
        if binding not in known:
            raise ConfigError(
                f"{path}: no binding named {binding!r}; known: {', '.join(sorted(known))}",
                param=path,
            )


def dialects() -> list[Dialect]:
    """Every dialect that is registered."""
    names = sorted(registry.names("dialects"))
    return [registry.load("dialects", name).Dialect() for name in names]


def _makes_pictures(found: Sequence[Binding]) -> bool:
    return any("image" in binding.engine.outputs for binding in found)


def _picture_reader(config: Config, found: Sequence[Binding]) -> PictureReader | None:
    """Imported only where pictures are made: decoders of pictures are many and large."""
    if not _makes_pictures(found):
        return None
    return cast("PictureReader", registry.load("pictures", "reading").Reader(config.images))


def _picture_addresses(config: Config, found: Sequence[Binding]) -> Addresses | None:
    if not _makes_pictures(found):
        return None
    key = registry.load("pictures", "keys").signing_key(paths.picture_key_file())
    return Addresses(key, config.images.url_seconds)


async def _open_log(config: Config, metrics: Metrics) -> StreamLog:
    module = registry.load("streams", config.streams.log)
    folder = paths.streams_folder(config)
    log = module.Log(config.streams, folder, now_ms, metrics.log_latency.observe)
    await log.open()
    return cast("StreamLog", log)
