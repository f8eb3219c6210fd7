"""What a script calls `binding`: the gateway's engine, asked as lollms' bindings are asked."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Final, cast

import msgspec
from msgspec.structs import replace

from penstock.core import events as ev
from penstock.core.errors import EngineError, InternalError, UnsupportedParameterError, from_code
from penstock.core.folding import Folder, Reply
from penstock.core.messages import ImagePart, Message, Part, TextPart, say
from penstock.core.ports import Engine
from penstock.core.request import Request, Sampling
from penstock.gateway import admission
from penstock.gateway.functions import summed
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
        self._over = False

    async def generate(
        self,
        prompt: str,
        params: Mapping[str, object] | None = None,
        request_info: object = None,
        multimodal_data: Iterable[object] | None = None,
    ) -> list[dict[str, object]]:
        """A whole answer, as lollms' own text bindings give it: a list of one text item.

        `params`: sampling parameters and `system_message`; others are ignored, and what is missing
        is the engine's own default. `multimodal_data`: pictures beside the prompt, as items of
        `context["input_data"]` or dicts like them. Raises `GatewayError`; an `InternalError` for
        arguments that no binding takes, since they are the script's own.
        """
        folder = Folder()
        asked = self._asked(prompt, params or {}, multimodal_data or ())
        async with aclosing(self._events(asked)) as events:
            async for event in events:
                folder.feed(ev.Entry(ev.Seq(0), 0, event))
        return [self._item(folder.reply())]

    def generate_stream(
        self,
        prompt: str,
        params: Mapping[str, object] | None = None,
        request_info: object = None,
        multimodal_data: Iterable[object] | None = None,
    ) -> AsyncIterator[dict[str, object]]:
        """The same as chunks, the last of type `final`. A script may yield them on as they are."""
        chunks = self._chunks(self._asked(prompt, params or {}, multimodal_data or ()))
        self._open.add(chunks)
        return chunks

    async def aclose(self) -> None:
        """Stops every answer that was begun and not read to its end.

        One that a task of the script's own waits for just now stops with the engine's next batch.
        """
        self._over = True
        for chunks in self._open:
            with suppress(RuntimeError):  # it is being read
                await chunks.aclose()

    def usage(self) -> list[ev.Event]:
        """The sum of all that was asked; empty when no engine counted anything."""
        return summed(self._usages)

    async def _chunks(self, asked: Request) -> AsyncGenerator[dict[str, object]]:
        folder = Folder()
        async with aclosing(self._events(asked)) as events:
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

    async def _events(self, asked: Request) -> AsyncGenerator[ev.Event]:
        """All events up to the end. Raises what the engine failed with."""
        try:
            request = admission.fit(asked, self._engine, self.binding_instance_name)
        except UnsupportedParameterError as error:  # the client's own request was fitted before
            raise InternalError(f"a script asked too much: {error.message}") from error
        batches = cast("AsyncGenerator[Sequence[ev.Event]]", self._engine.stream(request))
        async with aclosing(batches):
            async for batch in batches:
                if self._over:
                    raise InternalError("the run of this script is over")
                for event in batch:
                    if isinstance(event, ev.Usage):
                        self._usages.append(event)
                    elif isinstance(event, ev.Failed):
                        raise from_code(event.code, event.message)
                    yield event
                    if isinstance(event, ev.Done):
                        return
        raise EngineError("the engine stopped without saying how it ended")

    def _asked(
        self, prompt: str, params: Mapping[str, object], pictures: Iterable[object]
    ) -> Request:
        system = params.get("system_message")
        for name, said in (("prompt", prompt), ("params.system_message", system or "")):
            if not isinstance(said, str):
                raise InternalError(f"a script asked its binding with a {name} that is no text")
        parts: list[Part] = [TextPart(prompt), *(_picture(item) for item in pictures)]
        values = {_OTHERS.get(name, name): value for name, value in params.items()}
        known = {n: v for n, v in values.items() if n in _FIELDS and v is not None}
        if isinstance(known.get("stop"), str):
            known["stop"] = [known["stop"]]
        messages = [say("system", str(system))] if system else []
        return replace(
            self._request,
            messages=(*messages, Message(role="user", parts=tuple(parts))),
            sampling=json.convert(known, Sampling, InternalError, "params"),
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


def _picture(item: object) -> ImagePart:
    """An item of lollms' `input_data`, or a dict like one, whose `data` is base64 or an address."""
    told = item if isinstance(item, Mapping) else msgspec.to_builtins(item)
    data = told.get("data") if told.get("type") == "image" else None
    if not isinstance(data, str):
        raise InternalError("a script gave its binding multimodal_data that is no picture")
    if not data.startswith(("data:", "http://", "https://")):
        data = f"data:{told.get('mime_type') or 'image/png'};base64,{data}"
    return ImagePart(url=data)


def _chunk(kind: str, content: object, thoughts: str | None = None) -> dict[str, object]:
    return {"type": kind, "content": content, "thoughts": thoughts, "metadata": {}}
