"""`penstock chat`: a conversation in the terminal."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

import click

from penstock.cli import _output, _running
from penstock.cli._advice import explain, of_event
from penstock.cli._arguments import CONFIG, COUNT, TEMPERATURE, TEXT
from penstock.cli._conversation import STOPPED, Conversation
from penstock.cli._markdown import Rendering
from penstock.cli._settings import settings
from penstock.cli._talking import Partner, partner
from penstock.cli._typing import Lines, Piped, Typed, at_terminal
from penstock.config import paths
from penstock.core.errors import GatewayError, InvalidRequestError
from penstock.core.events import Done, Event, Failed, ReasoningDelta, TextDelta, ToolCallDelta
from penstock.core.request import Sampling

_HELP: Final = """\
/model [NAME]    talk to another model; alone: say which, and list them
/system [TEXT]   set the system prompt; alone: show it; `/system -` removes it
/save FILE       write the conversation, as Markdown or (FILE.json) JSON
/clear           forget what was said
/help            this list
/quit            leave (also Ctrl-D)
Ctrl-C stops a reply and keeps what arrived."""

_COMMANDS: Final = ["/model", "/system", "/save", "/clear", "/help", "/quit"]


@click.command()
@click.option("-m", "--model", type=TEXT, help="Model to ask; default: [client.defaults] model.")
@click.option("-s", "--system", type=TEXT, default="", help="System prompt.")
@click.option("--max-tokens", type=COUNT, help="Limit of each answer.")
@click.option("--temperature", type=TEMPERATURE, help="Sampling temperature.")
@click.option("-c", "--config", type=CONFIG, help="As for `penstock stream`.")
def chat(
    *,
    model: str | None,
    system: str,
    max_tokens: int | None,
    temperature: float | None,
    config: Path | None,
) -> None:
    """Talk with a model. Works with no server running, too.

    Ctrl-C stops a reply and keeps the conversation; /help lists the commands. Lines can be piped
    in: then Ctrl-C ends it all, and the exit status is that of the worst answer.

    \b
    Examples:
      penstock chat
      penstock chat -m fast -s "Answer briefly."
      echo "Write a haiku about rivers." | penstock chat
    """
    given = Sampling(max_tokens=max_tokens, temperature=temperature)
    _running.run(_chat(config, model, system, given))


async def _chat(config: Path | None, model: str | None, system: str, given: Sampling) -> int:
    chosen = settings(config)
    defaults = chosen.client.defaults
    temperature = defaults.temperature if given.temperature is None else given.temperature
    sampling = Sampling(max_tokens=given.max_tokens or defaults.max_tokens, temperature=temperature)
    async with partner(chosen) as who:
        name = model or defaults.model or who.default_model
        if name is None:
            raise chosen.wanted_model()
        typed = at_terminal()
        lines: Lines = Typed(paths.history_file(), _COMMANDS) if typed else Piped()
        if typed:
            _output.note(f"{who.address}, {name or 'default model'}. /help lists the commands.")
        return await _Chat(who, Conversation(name, system, sampling), typed=typed).run(lines)


class _Chat:
    """The loop: a line, an answer. `typed`: a person is at the terminal."""

    def __init__(self, who: Partner, conversation: Conversation, *, typed: bool) -> None:
        self._who = who
        self._talk = conversation
        self._typed = typed
        self._status = _running.DONE

    async def run(self, lines: Lines) -> int:
        """Until the lines end. From a pipe, the status of the worst answer."""
        while True:
            try:
                line = await lines.line()
            except KeyboardInterrupt:
                _output.note("(/quit or Ctrl-D leaves)")
                continue
            if line is None or line.strip() == "/quit":
                return _running.DONE if self._typed else self._status
            try:
                await self._line(line.strip())
            except GatewayError as error:
                _output.trouble(explain(error))
                self._status = _running.FAILED

    async def _line(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        rest = rest.strip()
        if not line:
            return
        if command == "/help":
            _output.say(_HELP)
        elif command == "/clear":
            self._talk.clear()
            _output.note("(forgotten)")
        elif command == "/model":
            await self._model(rest)
        elif command == "/system":
            self._system(rest)
        elif command == "/save":
            self._save(rest)
        elif command.startswith("/"):
            raise InvalidRequestError(f"no command {command}; /help lists them")
        else:
            await self._ask(line)

    async def _model(self, name: str) -> None:
        if name:
            self._talk.model = name
            _output.note(f"(the model is now {name})")
            return
        _output.say(f"now: {self._talk.model or 'the default model'}")
        for card in await self._who.models():
            _output.say(f"  {card.name}")

    def _system(self, text: str) -> None:
        if text:
            self._talk.system = "" if text == "-" else text
        _output.note(f"(system prompt: {self._talk.system or 'none'})")

    def _save(self, name: str) -> None:
        if not name:
            raise InvalidRequestError("/save needs the name of a file")
        self._talk.save(name)
        _output.note(f"(saved as {name})")

    async def _ask(self, text: str) -> None:
        reply = _Reply(rendered=self._typed and _output.console().is_terminal)
        if not self._typed:
            trouble, stopped = await reply.read(self._who, self._talk, text), False
        else:
            async with _running.stoppable() as (group, stop):
                task = group.create_task(reply.read(self._who, self._talk, text))
                stop.append(task)
            stopped = task.cancelled()
            trouble = None if stopped else task.result()
        kept = self._talk.keep(text, reply.text, stopped=stopped or trouble is not None)
        if stopped:
            _output.note(STOPPED if kept else "(stopped before anything arrived)")
        if trouble is not None:
            raise trouble


class _Reply:
    """One answer: shown as it arrives, and kept."""

    def __init__(self, *, rendered: bool) -> None:
        self.text = ""
        self._rendered = rendered
        self._failed: Failed | None = None
        self._reasoning = False
        self._reason = ""

    async def read(self, who: Partner, talk: Conversation, text: str) -> GatewayError | None:
        """To its end; what broke it, if anything. Cancelled: the run there is stopped."""
        drawing: AbstractContextManager[Rendering | None] = nullcontext(None)
        if self._rendered:
            drawing = Rendering(_output.console())
        try:
            async with who.ask(talk.request(text)) as answer:
                with drawing as rendering:
                    while batch := await answer.take():
                        for event in [event for one in batch for event in one.events]:
                            self._show(event, rendering)
        except GatewayError as error:
            return error
        finally:
            if not self._rendered:
                _output.say()
        if self._reason == "length":
            _output.note("(cut at the limit; --max-tokens raises it)")
        return of_event(self._failed) if self._failed is not None else None

    def _show(self, event: Event, rendering: Rendering | None) -> None:
        match event:
            case TextDelta(text=text):
                if self._reasoning:
                    _output.write("\n\n")
                    self._reasoning = False
                self.text += text
                if rendering is not None:
                    rendering.add(text)
                else:
                    _output.write(text)
            case ReasoningDelta(text=text) if rendering is None:
                self._reasoning = True
                _output.write(text, dim=True)
            case ToolCallDelta(name=name, arguments=arguments):
                _output.write(f"\n[call {name}] {arguments}" if name else arguments, dim=True)
            case Failed():
                self._failed = event
            case Done(reason=reason):
                self._reason = reason
            case _:
                pass
