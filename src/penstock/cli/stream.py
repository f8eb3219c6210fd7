"""`penstock stream`: one prompt, its answer as it arrives, and how fast that was."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from penstock.cli import _output, _running
from penstock.cli._advice import explain, of_event
from penstock.cli._arguments import CONFIG, COUNT, TEMPERATURE, TEXT
from penstock.cli._measures import Measures
from penstock.cli._settings import EXAMPLE, Settings, settings
from penstock.cli._showing import Human, Machine, Show
from penstock.cli._talking import Answer, Partner, partner
from penstock.core.errors import EngineProtocolError, GatewayError
from penstock.core.messages import Message, say
from penstock.core.request import Request, Sampling

PROMPT = "Write a short story about a robot discovering art."


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one call."""

    prompt: str | None
    model: str | None
    system: str | None
    max_tokens: int | None
    temperature: float | None


@click.command()
@click.argument("prompt", type=TEXT, required=False)
@click.option("-m", "--model", type=TEXT, help="Model to ask; default: [client.defaults] model.")
@click.option("-s", "--system", type=TEXT, help="System prompt.")
@click.option("--max-tokens", type=COUNT, help="Limit of the answer.")
@click.option("--temperature", type=TEMPERATURE, help="Sampling temperature.")
@click.option(
    "-c",
    "--config",
    type=CONFIG,
    help="A client's JSON or TOML (api, defaults), or a server's config.toml.",
)
@click.option("-d", "--debug", is_flag=True, help="Show payloads, raw events and statistics.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for machines.")
@click.option("--example", is_flag=True, help="Print a config.json to start from, and stop.")
def stream(  # noqa: PLR0913
    *,
    prompt: str | None,
    config: Path | None,
    debug: bool,
    as_json: bool,
    example: bool,
    model: str | None,
    system: str | None,
    max_tokens: int | None,
    temperature: float | None,
) -> None:
    """Stream one answer and measure it.

    Without PROMPT it asks for a short story about a robot. It talks to the endpoint of -c FILE;
    else to ./config.json's; else to [client.api] of the server's configuration; else to the server
    on this machine; else to a model in this very process.

    \b
    Examples:
      penstock stream "Explain streaming in one sentence."
      penstock stream -m granite3.3:8b --debug "Tell me a story"
      penstock stream --example > config.json
      penstock stream -c config.json --json "Hello!"

    Exit status: 0 the answer is whole, 1 it is not, 2 wrong usage, 130 Ctrl-C.
    """
    if example:
        _output.write(EXAMPLE)
        sys.exit(_running.DONE)
    wish = Wish(
        prompt=prompt,
        model=model,
        system=system,
        max_tokens=max_tokens,
        temperature=temperature,
    )
    show: Show = Machine(debug=debug) if as_json else Human(debug=debug)
    _running.run(_stream(config, wish, show))


async def _stream(config: Path | None, wish: Wish, show: Show) -> int:
    try:
        chosen = settings(config)
        async with partner(chosen) as who:
            request = _request(wish, chosen, who)
            show.configuration(chosen, who.address, request)
            return await _ask(who, request, show)
    except GatewayError as error:
        show.failed(explain(error), None)
        return _running.FAILED


def _request(wish: Wish, chosen: Settings, who: Partner) -> Request:
    defaults = chosen.client.defaults
    model = wish.model or defaults.model or who.default_model
    if model is None:
        raise chosen.wanted_model()
    messages: list[Message] = [say("system", wish.system)] if wish.system else []
    messages.append(say("user", wish.prompt or PROMPT))
    temperature = defaults.temperature if wish.temperature is None else wish.temperature
    return Request(
        model=model,
        messages=tuple(messages),
        sampling=Sampling(
            max_tokens=wish.max_tokens or defaults.max_tokens, temperature=temperature
        ),
        stream=True,
        include_usage=True,
    )


async def _ask(who: Partner, request: Request, show: Show) -> int:
    loop = asyncio.get_running_loop()
    measures = Measures(loop.time())
    answer: Answer | None = None
    trouble: GatewayError | None = None
    stopped = False
    try:
        async with who.ask(request) as answer:
            show.answering(answer)
            await _read(answer, measures, show)
    except GatewayError as error:
        trouble = error
    except asyncio.CancelledError:
        stopped = True
    figures = measures.figures(
        loop.time(),
        malformed=answer.malformed if answer else 0,
        stream=answer.stream if answer else None,
    )
    if stopped:
        show.stopped(figures)
        return _running.INTERRUPTED
    trouble = trouble or _complaint(measures, answer)
    if trouble is not None:
        show.failed(explain(trouble), figures)
        return _running.FAILED
    show.finished(figures)
    return _running.DONE


async def _read(answer: Answer, measures: Measures, show: Show) -> None:
    loop = asyncio.get_running_loop()
    while batch := await answer.take():
        events = [event for one in batch for event in one.events]
        measures.take(events, loop.time())
        show.received(batch)


def _complaint(measures: Measures, answer: Answer | None) -> GatewayError | None:
    """What is wrong with an answer that came to an end."""
    failed = measures.failed
    if answer is not None and answer.malformed and not measures.chunks:
        return EngineProtocolError(
            f"nothing but malformed events arrived ({answer.malformed}); is the endpoint the base "
            "URL of an OpenAI-compatible API? --debug shows them"
        )
    return of_event(failed) if failed is not None else None
