"""What a script calls `binding`: the gateway's engine, asked as lollms' bindings are asked."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Final, cast

import msgspec
from msgspec.structs import replace

from penstock.core import events as ev
from penstock.core.errors import EngineError, InvalidRequestError, from_code
from penstock.core.folding import Folder, Reply
from penstock.core.messages import say
from penstock.core.ports import Engine
from penstock.core.request import Request, Sampling
from penstock.gateway import admission
from penstock.wire import json

_FIELDS: Final = frozenset(Sampling.__struct_fields__)
_OTHERS: Final = {"stop_sequences": "stop"}


class ScriptBinding:
    """One binding for one run of a script. What it has begun ends with the run."""

    def __init__(self, engine: Engine, name: str, request: Request) -> None:
        self.binding_instance_name = name
        self.model_name = request.model
        self._engine = engine
        self._request = request
        self._open: set[AsyncGenerator[dict[str, object]]] = set()
        self._usages: list[ev.Usage] = []

    async def generate(
        self,
        prompt: str,
        params: Mapping[str, object] | None = None,
        request_info: object = None,
        multimodal_data: object = None,
    ) -> list[dict[str, object]]:
        """A whole answer, as lollms' own text bindings give it: a list of one text item.

        `params`: sampling parameters and `system_message`; others are ignored, and what is missing
        is the engine's own default. Raises `GatewayError`.
        """
        folder = Folder()
        async with aclosing(self._events(prompt, params)) as events:
            async for event in events:
                folder.feed(ev.Entry(ev.Seq(0), 0, event))
        return [self._item(folder.reply())]

    def generate_stream(
        self,
        prompt: str,
        params: Mapping[str, object] | None = None,
        request_info: object = None,
        multimodal_data: object = None,
    ) -> AsyncIterator[dict[str, object]]:
        """The same as chunks, the last of type `final`. A script may yield them on as they are."""
        chunks = self._chunks(prompt, params)
        self._open.add(chunks)
        return chunks

    async def aclose(self) -> None:
        """Stops every answer that was begun and not read to its end."""
        for chunks in self._open:
            await chunks.aclose()

    def usage(self) -> list[ev.Usage]:
        """The sum of all that was asked; empty when no engine counted anything."""
        if not self._usages:
            return []
        return [
            ev.Usage(
                input_tokens=sum(usage.input_tokens for usage in self._usages),
                output_tokens=sum(usage.output_tokens for usage in self._usages),
            )
        ]

    async def _chunks(
        self, prompt: str, params: Mapping[str, object] | None
    ) -> AsyncGenerator[dict[str, object]]:
        folder = Folder()
        async with aclosing(self._events(prompt, params)) as events:
            async for event in events:
                folder.feed(ev.Entry(ev.Seq(0), 0, event))
                match event:
                    case ev.TextDelta(text=text):
                        yield _chunk("chunk", text)
                    case ev.ReasoningDelta(text=text):
                        yield _chunk("chunk", None, text)
                    case ev.Progress(what=what, text=text):
                        yield _chunk("info", text or what)
                    case _:
                        pass
        yield _chunk("final", [self._item(folder.reply())])

    async def _events(
        self, prompt: str, params: Mapping[str, object] | None
    ) -> AsyncGenerator[ev.Event]:
        """All events up to the end. Raises what the engine failed with."""
        request = admission.fit(
            self._asked(prompt, params or {}), self._engine, self.binding_instance_name
        )
        batches = cast("AsyncGenerator[Sequence[ev.Event]]", self._engine.stream(request))
        async with aclosing(batches):
            async for batch in batches:
                for event in batch:
                    if isinstance(event, ev.Usage):
                        self._usages.append(event)
                    elif isinstance(event, ev.Failed):
                        raise from_code(event.code, event.message)
                    yield event
                    if isinstance(event, ev.Done):
                        return
        raise EngineError("the engine stopped without saying how it ended")

    def _asked(self, prompt: str, params: Mapping[str, object]) -> Request:
        system = params.get("system_message")
        if system is not None and not isinstance(system, str):
            raise InvalidRequestError("params: system_message is not a text", param="params")
        values = {_OTHERS.get(name, name): value for name, value in params.items()}
        known = {n: v for n, v in values.items() if n in _FIELDS and v is not None}
        if isinstance(known.get("stop"), str):
            known["stop"] = [known["stop"]]
        messages = [say("system", system)] if system else []
        return replace(
            self._request,
            messages=(*messages, say("user", prompt)),
            sampling=json.convert(known, Sampling, InvalidRequestError, "params"),
            freeform=True,
            personality=None,
            choices=1,
        )

    def _item(self, reply: Reply) -> dict[str, object]:
        choice = reply.first
        metadata: dict[str, object] = {
            "model_used": self.model_name,
            "binding_instance": self.binding_instance_name,
            "finish_reason": choice.reason,
        }
        if reply.usage is not None:
            metadata["usage"] = msgspec.to_builtins(reply.usage)
        found: dict[str, object] = {"type": "text", "data": choice.text, "metadata": metadata}
        return found | ({"thoughts": choice.reasoning} if choice.reasoning else {})


def _chunk(kind: str, content: object, thoughts: str | None = None) -> dict[str, object]:
    return {"type": kind, "content": content, "thoughts": thoughts, "metadata": {}}
