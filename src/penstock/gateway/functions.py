"""The server's own functions: `async def`s of listed modules that a model may call, and their runs.

A model calls them like any tool. Here their calls are answered and the conversation goes on in the
same stream, so that every dialect can offer them by setting `Request.functions`.
"""

import asyncio
import inspect
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Final, cast

import msgspec
from msgspec.structs import replace

from penstock.config import paths
from penstock.config.schema import Config
from penstock.core import events as ev
from penstock.core.cards import ModelCard
from penstock.core.errors import ConfigError, InvalidRequestError, NotFoundError
from penstock.core.folding import ChoiceReply, Folder, as_message
from penstock.core.messages import Message, TextPart, ToolCall
from penstock.core.ports import Engine
from penstock.core.request import Modality, Request, ToolSpec
from penstock.gateway.strangers import Caught, load, sound, words
from penstock.wire import json

MOST_ROUNDS: Final = 8
"""How often a model may call functions before it answers."""
MOST_RESULT: Final = 16 * 1024
"""Characters of a result that a model and a reader are told."""

_SETTING: Final = "functions.modules"
_REF: Final = "#/$defs/{name}"
_NO_SCHEMA: Final = inspect.Parameter.empty

Function = Callable[..., Awaitable[object]]


class OwnFunction(msgspec.Struct, frozen=True):
    """One function. `name` is `module.func`; models know it by `spec.name`, as dots are not for
    all of them. `arguments` is a struct type made of its signature.
    """

    name: str
    spec: ToolSpec
    call: Function
    arguments: type[msgspec.Struct]


class Functions:
    """All of them by name. `timeout` of one call in seconds."""

    def __init__(self, functions: Sequence[OwnFunction] = (), timeout: float = 30.0) -> None:
        self._by_name = {function.name: function for function in functions}
        self._by_spec = {function.spec.name: function for function in functions}
        self._timeout = timeout

    @property
    def names(self) -> tuple[str, ...]:
        """Sorted."""
        return tuple(sorted(self._by_name))

    def offered(self, request: Request) -> Request:
        """The request with the functions that it names among its tools.

        Raises `NotFoundError` for one that there is not, `InvalidRequestError` for one whose name
        a tool of the client's has too.
        """
        specs: list[ToolSpec] = []
        for name in dict.fromkeys(request.functions):
            if name not in self._by_name:
                raise NotFoundError(f"no function named {name!r}", param="functions")
            spec = self._by_name[name].spec
            if any(tool.name == spec.name for tool in request.tools):
                raise InvalidRequestError(
                    f"functions: a tool is named {spec.name!r} too", param="functions"
                )
            specs.append(spec)
        return replace(request, tools=(*request.tools, *specs)) if specs else request

    def called(self, request: Request, calls: Sequence[ToolCall]) -> list[ToolCall]:
        """Those of `calls` that go to functions which this request offers."""
        offered = {self._by_name[name].spec.name for name in request.functions}
        return [call for call in calls if call.name in offered]

    def title(self, call: ToolCall) -> str:
        """`module.func` of a call."""
        return self._by_spec[call.name].name

    async def answer(self, call: ToolCall) -> str:
        """What the model is told; also of what went wrong, which it may be able to mend."""
        function = self._by_spec[call.name]
        with Caught() as caught:
            # `{}` is what many models mean when they say nothing at all.
            said = json.decode(
                call.arguments.strip() or "{}", function.arguments, InvalidRequestError
            )
            return _told(await self._perform(function, said))
        return _told(_fault(caught.error))

    async def execute(self, name: str, arguments: Mapping[str, object]) -> tuple[bool, object]:
        """As a script calls one: whether it went well, and its result or what went wrong.

        Arguments that it does not have are dropped.
        """
        function = self._by_name.get(name)
        if function is None:
            return False, f"no function named {name!r}"
        with Caught() as caught:
            said = json.convert(dict(arguments), function.arguments, InvalidRequestError)
            async with asyncio.timeout(self._timeout):
                return True, await _made(function, said)
        return False, _fault(caught.error)

    async def _perform(self, function: OwnFunction, said: msgspec.Struct) -> str:
        async with asyncio.timeout(self._timeout):
            result = await _made(function, said)
        return result if isinstance(result, str) else json.encode(result).decode()


def _told(text: str) -> str:
    if len(text) > MOST_RESULT:
        text = f"{text[:MOST_RESULT]}… (cut, it has {len(text)} characters)"
    return sound(text)


def _fault(error: BaseException | None) -> str:
    if isinstance(error, TimeoutError):
        return "error: it took too long"
    if isinstance(error, InvalidRequestError):
        return f"error: {error.message}"
    return f"error: {words(error)}"


async def _made(function: OwnFunction, said: msgspec.Struct) -> object:
    given = {
        name: getattr(said, name)
        for name in said.__struct_fields__
        if getattr(said, name) is not msgspec.UNSET
    }
    return await function.call(**given)


# ── loading ──────────────────────────────────────────────────────────────────────────────────────


def load_functions(config: Config) -> Functions:
    """The functions of every listed module. Raises `ConfigError` naming what is wrong."""
    modules = config.functions.modules
    if not modules:
        return Functions()
    folder = paths.functions_folder(config)
    if folder is None:
        raise ConfigError(
            f"{_SETTING}: [paths] functions_folder says where they lie, and is not set",
            param=_SETTING,
        )
    found = [function for name in modules for function in _of_module(folder, name)]
    specs = [function.spec.name for function in found]
    twice = next((name for name in specs if specs.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{_SETTING}: two functions are called {twice!r}", param=_SETTING)
    return Functions(found, config.functions.timeout_seconds)


def _of_module(folder: Path, name: str) -> list[OwnFunction]:
    file = folder / f"{name}.py"
    if not name.isidentifier() or not file.is_file():
        raise ConfigError(f"{_SETTING}: there is no {name}.py in {folder}", param=_SETTING)
    module = load(file, f"penstock_functions_{name}", _SETTING)
    return [
        _read(module, name, attribute)
        for attribute, value in vars(module).items()
        if inspect.iscoroutinefunction(value)
        and value.__module__ == module.__name__
        and not attribute.startswith("_")
    ]


def _read(module: ModuleType, name: str, attribute: str) -> OwnFunction:
    title = f"{name}.{attribute}"
    call: Function = vars(module)[attribute]
    with Caught() as caught:
        arguments = _arguments(call)
        schema = _schema(arguments)
    if caught.error is not None:
        raise ConfigError(
            f"{_SETTING}: {title}: its arguments can't be told to a model: {caught.error}",
            param=_SETTING,
        )
    spec = ToolSpec(
        name=title.replace(".", "__"),
        description=inspect.getdoc(call),
        parameters=json.raw(json.encode(schema)),
    )
    return OwnFunction(title, spec, call, arguments)


def _arguments(call: Function) -> type[msgspec.Struct]:
    """A struct type of a signature. What has a default may be left out, and is then not passed."""
    hints = typing.get_type_hints(call, include_extras=True)
    fields: list[tuple[str, object, object]] = []
    required: list[tuple[str, object]] = []
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{parameter} can't be passed by name")
        kind = cast("type", hints.get(parameter.name, object))
        if parameter.default is _NO_SCHEMA:
            required.append((parameter.name, kind))
        else:
            fields.append((parameter.name, kind | msgspec.UnsetType, msgspec.UNSET))
    return msgspec.defstruct("Arguments", [*required, *fields], kw_only=True)


def _schema(arguments: type[msgspec.Struct]) -> dict[str, object]:
    _, components = json.schema([arguments], _REF)
    own = cast("dict[str, object]", components.pop("Arguments"))
    own.pop("title", None)
    return own | ({"$defs": components} if components else {})


# ── calling ──────────────────────────────────────────────────────────────────────────────────────


class Calling:
    """An engine that also answers the calls to the server's own functions.

    In the stream a call stands as the model made it; a `Progress` names it before it runs, and one
    tells its result. A turn that also calls tools of the client's ends there, with the results of
    the server's own told.
    """

    description: ClassVar[str] = "An engine with functions of the server's own"
    outputs: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, engine: Engine, functions: Functions) -> None:
        self._engine = engine
        self._functions = functions
        # Several choices are several conversations: each goes on by itself.
        self.supports = engine.supports - {"choices"}

    async def start(self) -> None:
        """The engine itself was started."""

    async def models(self) -> Sequence[ModelCard]:
        """The engine's."""
        return await self._engine.models()

    async def aclose(self) -> None:
        """The engine itself is closed by who opened it."""

    async def stream(self, request: Request) -> AsyncIterator[Sequence[ev.Event]]:
        """Round after round, as one stream: part numbers go on, the usage is that of all."""
        usages: list[ev.Usage] = []
        first = 0
        for turn in range(1, MOST_ROUNDS + 2):
            round_ = _Round(first)
            batches = cast("AsyncGenerator[Sequence[ev.Event]]", self._engine.stream(request))
            async with aclosing(batches):
                async for batch in batches:
                    yield round_.take(batch)
                    if round_.end is not None:
                        break
            if round_.usage is not None:
                usages.append(round_.usage)
            if round_.end is None:
                return  # The run says that the engine stopped without an end.
            choice = round_.folder.reply().first
            calls = self._functions.called(request, choice.tool_calls)
            if not calls or not _is_to_go_on(round_.end):
                yield [*summed(usages), round_.end]
                return
            if turn > MOST_ROUNDS:
                yield [*summed(usages), _TOO_OFTEN]
                return
            yield [self._before(call, turn) for call in calls]
            results = await asyncio.gather(*(self._functions.answer(call) for call in calls))
            yield [self._after(c, r, turn) for c, r in zip(calls, results, strict=True)]
            if len(calls) < len(choice.tool_calls):
                yield [*summed(usages), round_.end]
                return
            request, first = _next(request, choice, results), round_.next_part

    def _before(self, call: ToolCall, turn: int) -> ev.Progress:
        text = f"calling {self._functions.title(call)}"
        return ev.Progress(what="step", at=turn, text=text)

    def _after(self, call: ToolCall, result: str, turn: int) -> ev.Progress:
        text = f"{self._functions.title(call)}: {result}"
        return ev.Progress(what="step", at=turn, text=text)


_TOO_OFTEN: Final = ev.Failed(
    code="engine_failed", message=f"the model still calls functions after {MOST_ROUNDS} rounds"
)


class _Round:
    """One answer of the engine: its events without usage and end, their parts from `first` on."""

    def __init__(self, first: int) -> None:
        self.folder = Folder()
        self.usage: ev.Usage | None = None
        self.end: ev.Done | ev.Failed | None = None
        self.next_part = first
        self._first = first

    def take(self, batch: Sequence[ev.Event]) -> list[ev.Event]:
        """What of a batch is told."""
        kept: list[ev.Event] = []
        for event in batch:
            if isinstance(event, ev.Usage):
                self.usage = event
                continue
            if isinstance(event, ev.Done | ev.Failed):
                self.end = event
                break
            if isinstance(event, ev.TextDelta | ev.ReasoningDelta | ev.ToolCallDelta | ev.Image):
                event = replace(event, part=self._first + event.part)
                self.next_part = max(self.next_part, event.part + 1)
                self.folder.feed(ev.Entry(ev.Seq(0), 0, event))
            kept.append(event)
        return kept


def _is_to_go_on(end: ev.Done | ev.Failed) -> bool:
    """Not after a failure, a cancel or a limit: the last call may be cut."""
    return isinstance(end, ev.Done) and end.reason in ("tool_calls", "stop")


def _next(request: Request, choice: ChoiceReply, results: Sequence[str]) -> Request:
    """The conversation with the calls and their results. A forced call was forced once."""
    told = [
        Message(role="tool", parts=(TextPart(result),), tool_call_id=call.id, name=call.name)
        for call, result in zip(choice.tool_calls, results, strict=True)
    ]
    messages = (*request.messages, as_message(choice), *told)
    return replace(request, messages=messages, tool_choice=None)


def summed(usages: Sequence[ev.Usage]) -> list[ev.Event]:
    """Several usages as one; none when no engine counted anything."""
    if not usages:
        return []
    timings = [usage.timings for usage in usages if usage.timings is not None]
    total = ev.Usage(
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        reasoning_tokens=_sum([usage.reasoning_tokens for usage in usages]),
        cached_tokens=_sum([usage.cached_tokens for usage in usages]),
        images=_sum([usage.images for usage in usages]),
        timings=ev.Timings(
            load=sum(timing.load for timing in timings),
            prompt=sum(timing.prompt for timing in timings),
            generation=sum(timing.generation for timing in timings),
        )
        if timings
        else None,
    )
    return [total]


def _sum(counts: Sequence[int | None]) -> int | None:
    told = [count for count in counts if count is not None]
    return sum(told) if told else None
