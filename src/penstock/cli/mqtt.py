"""`penstock mqtt`: a conversation over an MQTT broker."""

import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import Final, Protocol, cast

import click
import msgspec
from msgspec.structs import replace
from typing_extensions import override

from penstock import registry
from penstock.cli import _output, _running
from penstock.cli._advice import explain
from penstock.cli._arguments import CONFIG, COUNT, TEMPERATURE, TEXT
from penstock.cli._conversation import STOPPED
from penstock.cli._settings import server_config
from penstock.cli._typing import Lines, Piped, Typed, at_terminal
from penstock.config import paths
from penstock.config.schema import Mqtt, ProjectName
from penstock.core.errors import ConfigError, GatewayError, from_code
from penstock.core.events import (
    Done,
    Entry,
    Event,
    Failed,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from penstock.core.secrets import Secret

_PATIENCE: Final = 4
"""Times [client.defaults] timeout: an answer over a broker waits for other clients' too."""
_LONGEST: Final = 1024
_PASSWORD: Final = "PENSTOCK_MQTT_PASSWORD"  # noqa: S105 - the name of a variable


class _Wish(msgspec.Struct, frozen=True):
    """What the command line says."""

    prompt: str | None
    url: str | None
    username: str | None
    project: str | None
    session: str | None
    model: str | None
    system: str | None
    max_tokens: int | None
    temperature: float | None

    def fields(self) -> dict[str, object]:
        """Of every request."""
        said = {
            "model": self.model,
            "systemPrompt": self.system,
            "maxTokens": self.max_tokens,
            "temperature": self.temperature,
        }
        return {name: value for name, value in said.items() if value is not None}


class _Asker(Protocol):
    def ask(self, fields: Mapping[str, object], within: float) -> AsyncIterator[Entry]: ...


class _Mqtt(Protocol):
    def Asker(  # noqa: N802 - a class
        self, settings: Mqtt, project: str, session: str
    ) -> AbstractAsyncContextManager[_Asker]: ...


class _Project(click.ParamType[str]):
    """A project's name as the configuration has it; what else it may be would be other topics."""

    name = "text"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = TEXT.convert(value, param, ctx)
        try:
            msgspec.convert(text, ProjectName)
        except msgspec.ValidationError:
            self.fail(f"{text[:80]!r} is no project: no spaces and none of / + # $", param, ctx)
        if len(text.encode()) > _LONGEST:
            self.fail(f"longer than {_LONGEST} bytes", param, ctx)
        return text


@click.command()
@click.argument("prompt", type=TEXT, required=False)
@click.option("-u", "--url", type=TEXT, help="mqtt://HOST:PORT or mqtts://…; default: [mqtt] url.")
@click.option("--username", type=TEXT, help="Name for the broker; default: [mqtt] username.")
@click.option(
    "-p",
    "--project",
    type=_Project(),
    help="Project to ask; default: the first of [mqtt] projects.",
)
@click.option("--session", type=TEXT, help="Session to go on with; default: a new one.")
@click.option("-m", "--model", type=TEXT, help="Model to ask; default: the project's.")
@click.option("-s", "--system", type=TEXT, help="System prompt of a new session.")
@click.option("--max-tokens", type=COUNT, help="Limit of each answer.")
@click.option("--temperature", type=TEMPERATURE, help="Sampling temperature.")
@click.option("-c", "--config", type=CONFIG, help="A config.toml with [mqtt].")
def mqtt(*, config: Path | None, **given: object) -> None:
    """Talk with a model through an MQTT broker, where a Penstock with [mqtt] is on the other side.

    Without PROMPT, line by line, in one session; Ctrl-C stops an answer, /quit or Ctrl-D leaves.
    Lines can be piped in: then Ctrl-C ends it all, and the exit status is that of the worst answer.
    A broker that is restarted in the middle of an answer costs nothing: it goes on where it was.
    The password is [mqtt] password, or PENSTOCK_MQTT_PASSWORD in the environment.

    \b
    Examples:
      penstock mqtt "Hello"
      penstock mqtt -u mqtt://broker.local -p maze --session game-7
      echo "Write a haiku about rivers." | penstock mqtt
    """
    _running.run(_mqtt(config, msgspec.convert(given, _Wish)))


async def _mqtt(config: Path | None, wish: _Wish) -> int:
    chosen = server_config(config)
    broker = _broker(chosen.mqtt, wish)
    project = wish.project or next(iter(broker.projects), "general")
    session = wish.session or f"terminal-{secrets.token_hex(4)}"
    module = cast("_Mqtt", registry.load("transports", "mqtt"))
    async with module.Asker(broker, project, session) as asker:
        talk = _Talk(asker, wish.fields(), _PATIENCE * chosen.client.defaults.timeout)
        if wish.prompt is not None:
            return await talk.answer(wish.prompt)
        typed = at_terminal()
        lines: Lines = Typed(paths.history_file(), ["/quit"]) if typed else Piped()
        if typed:
            _output.note(f"{broker.url}, project {project}, session {session}. /quit leaves.")
        return await talk.run(lines, typed=typed)


def _broker(chosen: Mqtt, wish: _Wish) -> Mqtt:
    named = os.environ.get(_PASSWORD)
    found = replace(
        chosen,
        url=wish.url or chosen.url,
        username=wish.username or chosen.username,
        password=Secret(named) if named else chosen.password,
    )
    if not found.url:
        raise ConfigError("mqtt.url: missing; name a broker there or with -u URL", param="mqtt.url")
    return found


class _Talk:
    """One conversation. `within`: seconds of silence to bear."""

    def __init__(self, asker: _Asker, fields: Mapping[str, object], within: float) -> None:
        self._asker = asker
        self._fields = fields
        self._within = within

    async def run(self, lines: Lines, *, typed: bool) -> int:
        """Until the lines end. From a pipe, the status of the worst answer."""
        status = _running.DONE
        while True:
            try:
                line = await lines.line()
            except KeyboardInterrupt:
                _output.note("(/quit or Ctrl-D leaves)")
                continue
            if line is None or line.strip() == "/quit":
                return _running.DONE if typed else status
            if line.strip() and typed:
                await self._stoppable_answer(line)
            elif line.strip():
                status = max(status, await self.answer(line))

    async def _stoppable_answer(self, text: str) -> None:
        async with _running.stoppable() as (group, stop):
            task = group.create_task(self.answer(text))
            stop.append(task)
        if task.cancelled():
            _output.write("\n")
            _output.note(STOPPED)

    async def answer(self, text: str) -> int:
        """Asks, and shows the answer as it comes."""
        status = _running.DONE
        try:
            stream = self._asker.ask({**self._fields, "message": text}, self._within)
            async with aclosing(cast("AsyncGenerator[Entry]", stream)) as entries:
                async for entry in entries:
                    _show(entry.event)
        except GatewayError as error:
            _output.write("\n")
            _output.trouble(explain(error))
            status = _running.FAILED
        return status


def _show(event: Event) -> None:
    match event:
        case TextDelta(text=text):
            _output.write(text)
        case ReasoningDelta(text=text):
            _output.write(text, dim=True)
        case ToolCallDelta(name=name, arguments=arguments):
            _output.write(f"\n{name} " if name else "", dim=True)
            _output.write(arguments, dim=True)
        case Failed(code=code, message=message, param=param):
            raise from_code(code, message, param)
        case Done():
            _output.write("\n")
        case _:
            pass
