"""Scripted personalities: `run_workflow(prompt, params, context)` behind the face of an engine.

What the script says, by whatever road of lollms' (5.2 of the project's specification), becomes the
events of an ordinary run: it is logged, streamed, resumed and cancelled like any other answer.
"""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import ClassVar, Final, cast

import msgspec

from penstock.config.schema import Defaults
from penstock.core import events as ev
from penstock.core.cards import ModelCard, Personality
from penstock.core.errors import ConfigError, ModalityError, UnsupportedParameterError
from penstock.core.messages import ImagePart, Message
from penstock.core.ports import Engine
from penstock.core.request import Modality, Request
from penstock.gateway.functions import Functions
from penstock.gateway.script_binding import ScriptBinding
from penstock.gateway.script_sayings import Sayings
from penstock.gateway.strangers import Blamed, Threads, load

MOST_THREADS: Final = 16
"""Scripts that are not `async` and run at a time."""

Workflow = Callable[[str, dict[str, object], dict[str, object]], object]

_SETTING: Final = "personalities.scripts"
_ROLES: Final = {
    "user": "user_prompt",
    "system": "system_context",
    "assistant": "assistant",
    "tool": "tool_result",
}
_TYPES: Final[Mapping[Modality, str]] = {
    "text": "ttt",
    "image": "tti",
    "video": "ttv",
    "audio": "tts",
}
_END: Final = object()


class InputItem(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of `context["input_data"]`."""

    type: str
    role: str
    data: str
    mime_type: str | None = None
    metadata: dict[str, object] = {}


class ScriptRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`context["request"]`: what was asked, without the conversation itself."""

    personality: str | None
    binding_name: str | None
    model_name: str
    generation_type: str
    stream: bool
    parameters: dict[str, object]
    functions: tuple[str, ...]


class FunctionManager:
    """`context["function_manager"]`: the server's own functions."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def list_functions(self) -> list[str]:
        """`module.func`, sorted."""
        return list(self._functions.names)

    async def execute_function(
        self, function_name: str, parameters: Mapping[str, object] | None = None
    ) -> tuple[bool, object]:
        """Whether it went well, and its result or what went wrong."""
        return await self._functions.execute(function_name, parameters or {})


class Script(msgspec.Struct, frozen=True):
    """A personality and the script that answers for it."""

    personality: Personality
    run: Workflow


class Answering(msgspec.Struct, frozen=True, kw_only=True):
    """Who is behind a script in one run. `request_id`: lollms' id of it."""

    engine: Engine
    binding: str
    request_id: str
    functions: Functions
    defaults: Defaults
    threads: Threads


def load_scripts(
    files: Mapping[str, Path], personalities: Mapping[str, Personality]
) -> dict[str, Script]:
    """The scripts that may run, by the names of their personalities. Raises `ConfigError`."""
    found: dict[str, Script] = {}
    for n, (name, file) in enumerate(files.items()):
        run = vars(load(file, f"penstock_script_{n}", _SETTING)).get("run_workflow")
        if not callable(run):
            raise ConfigError(f"{_SETTING}: {file.name} of {name!r} has no run_workflow")
        found[name] = Script(personalities[name], cast("Workflow", run))
    return found


def check(request: Request) -> None:
    """Raises `UnsupportedParameterError` for what only a model could honour, and `ModalityError`
    for what can't be told by a script.
    """
    if request.modality not in ScriptedEngine.outputs:
        raise ModalityError(
            f"the personality {request.personality!r} is a script, which makes no "
            f"{request.modality}",
            param="generation_type",
        )
    for asked, said in ((request.tools, "parameters.tools"), (request.functions, "functions")):
        if asked:
            raise UnsupportedParameterError(
                f"{said}: the personality {request.personality!r} is a script, which is offered "
                "no tools",
                param=said,
            )


class ScriptedEngine:
    """`core.ports.Engine` for one run of a script."""

    description: ClassVar[str] = "A personality's own script"
    outputs: ClassVar[tuple[Modality, ...]] = ("text",)
    supports: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, script: Script, answering: Answering) -> None:
        self._script = script
        self._answering = answering

    async def start(self) -> None:
        """Nothing to make ready."""

    async def models(self) -> Sequence[ModelCard]:
        """Those of the binding behind it."""
        return await self._answering.engine.models()

    async def aclose(self) -> None:
        """The engine behind it is closed by who opened it."""

    async def stream(self, request: Request) -> AsyncIterator[Sequence[ev.Event]]:
        """What the script says. Closing this stops it where it waits, and all it had begun."""
        sayings = Sayings(self._script.personality.name)
        answering = self._answering
        binding = ScriptBinding(answering.engine, answering.binding, request)
        try:
            async for said in self._said(request, binding):
                batch = sayings.hear(said)
                if batch:
                    yield batch
                if sayings.over:
                    break
        finally:
            await binding.aclose()
        yield [*binding.usage(), *sayings.end()]

    async def _said(self, request: Request, binding: ScriptBinding) -> AsyncIterator[object]:
        """Each chunk of a script that yields; what it returns otherwise, as one."""
        blamed = Blamed(f"the script of the personality {self._script.personality.name!r}")
        parameters = _parameters(request)
        arguments = (_prompt(request), parameters, self._context(request, parameters, binding))
        with blamed:
            made = await self._call(*arguments)
        if not inspect.isasyncgen(made):
            yield made
            return
        chunks = cast("AsyncGenerator[object]", made)
        async with aclosing(chunks):
            while True:
                with blamed:
                    chunk = await anext(chunks, _END)
                if chunk is _END:
                    return
                yield chunk

    async def _call(
        self, prompt: str, parameters: dict[str, object], context: dict[str, object]
    ) -> object:
        run = self._script.run
        made: object
        if inspect.isasyncgenfunction(run) or inspect.iscoroutinefunction(run):
            made = run(prompt, parameters, context)
        else:
            made = await self._answering.threads.run(lambda: run(prompt, parameters, context))
        return await made if inspect.isawaitable(made) else made

    def _context(
        self, request: Request, parameters: dict[str, object], binding: ScriptBinding
    ) -> dict[str, object]:
        defaults = self._answering.defaults
        kind = _TYPES[request.modality]
        asked = ScriptRequest(
            personality=request.personality,
            binding_name=request.binding,
            model_name=request.model,
            generation_type=kind,
            stream=request.stream,
            parameters=dict(parameters),
            functions=request.functions,
        )
        return {
            "request": asked,
            "input_data": [item for m in request.messages for item in _items(m)],
            "personality": self._script.personality,
            "binding": binding,
            "function_manager": FunctionManager(self._answering.functions),
            "config": {
                "defaults": {n: getattr(defaults, n) for n in defaults.__struct_fields__},
            },
            "request_info": {
                "personality": request.personality,
                "functions": list(request.functions),
                "generation_type": kind,
                "request_id": self._answering.request_id,
            },
        }


def _prompt(request: Request) -> str:
    said = [message.text for message in request.messages if message.role == "user"]
    return said[-1] if said else ""


def _parameters(request: Request) -> dict[str, object]:
    """What was merged for this request, by lollms' names."""
    sampling = request.sampling
    found: dict[str, object] = {
        name: list(value) if isinstance(value, tuple) else value
        for name in sampling.__struct_fields__
        if (value := getattr(sampling, name)) not in (None, ())
    }
    system = [message.text for message in request.messages if message.role == "system"]
    return found | {"system_message": "\n\n".join(system) or None}


def _items(message: Message) -> list[InputItem]:
    role = _ROLES[message.role]
    found = []
    for part in message.parts:
        if isinstance(part, ImagePart):
            found.append(InputItem(type="image", role="input_image", data=part.url or ""))
        else:
            found.append(InputItem(type="text", role=role, data=part.text))
    return found
