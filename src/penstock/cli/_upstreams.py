"""What `penstock doctor` asks of every binding. Needs the server's packages."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from penstock import compose, registry
from penstock.cli._checks import Finding
from penstock.config.schema import Config
from penstock.core.errors import EngineRefusedError, EngineTimeoutError, GatewayError
from penstock.core.ports import Engine
from penstock.gateway.bindings import Binding

_SECONDS: Final = 15.0


async def check_bindings(config: Config, environment: Mapping[str, str]) -> list[Finding]:
    """Names, exposure, and every binding started and asked what it offers."""
    found: list[Finding] = []
    try:
        await compose.check_exposure(config)
    except GatewayError as error:
        found.append(Finding("exposure", "broken", error.message, "see [security]"))
    try:
        bindings = compose.bindings(config, environment)
        compose.check_names(config, bindings)
    except GatewayError as error:
        known = ", ".join(sorted(registry.names("engines")))
        fix = f"correct it; engines are {known}"
        return [*found, Finding("bindings", "broken", error.message, fix)]
    try:
        found += await asyncio.gather(*(_check(binding) for binding in bindings))
    finally:
        await asyncio.gather(*(binding.engine.aclose() for binding in bindings))
    return found


async def _check(binding: Binding) -> Finding:
    name = f"binding {binding.name}"
    try:
        async with asyncio.timeout(_SECONDS):
            models = await _ask(binding.engine)
    except (GatewayError, TimeoutError) as error:
        message = error.message if isinstance(error, GatewayError) else f"silent for {_SECONDS:g} s"
        if binding.optional:
            return Finding(name, "ok", f"not used: {message}")
        return Finding(name, "broken", message, _fix(binding, error))
    if not models and not binding.model:
        return Finding(name, "note", "up, and lists no model", f"name one: bindings.{binding.name}")
    shown = ", ".join(models[:5]) + (f" and {len(models) - 5} more" if len(models) > 5 else "")
    return Finding(name, "ok", f"up: {shown or binding.model}")


async def _ask(engine: Engine) -> Sequence[str]:
    await engine.start()
    return [card.name for card in await engine.models()]


def _fix(binding: Binding, error: Exception) -> str:
    where = f"bindings.{binding.name}"
    # `models` says that the binding is down, because of what the upstream answered.
    if any(isinstance(one, EngineRefusedError) for one in (error, error.__cause__)):
        return f"check {where}.key, and {where}.url"
    if isinstance(error, EngineTimeoutError | TimeoutError):
        return f"see what the upstream is doing; is {where}.url right?"
    if binding.url is not None:
        return f"start the upstream, or correct {where}.url"
    return f"correct {where}"
