"""The server's own functions and scripted personalities, as a gateway uses them."""

from collections.abc import Mapping
from pathlib import Path

from penstock.config.schema import Config, Defaults
from penstock.core.cards import Personality
from penstock.core.ports import Engine
from penstock.core.request import Request
from penstock.gateway import workflows
from penstock.gateway.functions import Calling, Functions, load_functions
from penstock.gateway.strangers import Threads
from penstock.gateway.workflows import Answering, Script, ScriptedEngine, load_scripts


class OwnCode:
    """All of it; of a gateway that has none, nothing."""

    def __init__(
        self,
        functions: Functions | None = None,
        scripts: Mapping[str, Script] | None = None,
        defaults: Defaults | None = None,
    ) -> None:
        self._functions = functions or Functions()
        self._scripts = scripts or {}
        self._defaults = defaults or Defaults()
        self._threads = Threads(workflows.MOST_THREADS)

    @property
    def function_names(self) -> tuple[str, ...]:
        """`module.func`, sorted."""
        return self._functions.names

    def offered(self, request: Request) -> Request:
        """The request with the functions that it names as tools. Raises what is wrong with them."""
        if request.personality in self._scripts:
            workflows.check(request)
        return self._functions.offered(request)

    def dressed(self, engine: Engine, request: Request, binding: str, stream: str) -> Engine:
        """Who is to answer this request: the engine itself, or what stands before it."""
        script = self._scripts.get(request.personality or "")
        if script is not None:
            answering = Answering(
                engine=engine,
                binding=binding,
                request_id=stream[:16],
                functions=self._functions,
                defaults=self._defaults,
                threads=self._threads,
            )
            return ScriptedEngine(script, answering)
        return Calling(engine, self._functions) if request.functions else engine


def load_own_code(
    config: Config, scripts: Mapping[str, Path], personalities: Mapping[str, Personality]
) -> OwnCode:
    """What the configuration names. Raises `ConfigError`."""
    return OwnCode(load_functions(config), load_scripts(scripts, personalities), config.defaults)
