"""Tool calls of one choice, told apart however a server numbers and names them."""

from collections.abc import Sequence

from penstock.core.errors import EngineProtocolError
from penstock.core.events import ToolCallDelta
from penstock.engines import _parts
from penstock.engines._openai_shapes import Call, Function
from penstock.wire import json


class _Call:
    """One call. Nothing is told before its name is known."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.id: str | None = None
        self.name: str | None = None
        self.told = False
        self.held: list[str] = []


class Calls:
    """OpenAI numbers calls by `index`; some servers leave it out, or give every call the same one.

    A piece belongs to the call of its index, unless it brings another id and a name: then it is a
    new call. Without an index its id decides; without both it continues the last call, unless it
    brings a name of its own.
    """

    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def feed(self, pieces: Sequence[Call]) -> list[ToolCallDelta]:
        """The deltas of the pieces of one chunk."""
        found: list[ToolCallDelta] = []
        for piece in pieces:
            call = self._find(piece)
            call.id = call.id or piece.id
            if piece.function is not None:
                found += self._piece(call, piece.function)
        return found

    def function(self, function: Function) -> list[ToolCallDelta]:
        """The deltas of `function_call`, which came before there were tools."""
        return self.feed([Call(index=0, function=function)])

    def rest(self) -> list[ToolCallDelta]:
        """Calls that never said their name."""
        return [self._told(call, "") for call in self._calls if not call.told and call.held]

    def _find(self, piece: Call) -> _Call:
        name = piece.function.name if piece.function is not None else None
        found: _Call | None
        if piece.index is not None:
            found = self._by_index.get(piece.index)
            if found and name and piece.id and found.id and piece.id != found.id:
                found = None
        elif piece.id:
            found = next((call for call in self._calls if call.id == piece.id), None)
        else:
            found = None if name else (self._calls[-1] if self._calls else None)
        if found is None:
            found = _Call(len(self._calls))
            self._calls.append(found)
            if piece.index is not None:
                self._by_index[piece.index] = found
        return found

    def _piece(self, call: _Call, function: Function) -> list[ToolCallDelta]:
        arguments = _text(bytes(function.arguments))
        call.name = call.name or function.name
        if call.told:
            return [self._delta(call, None, arguments)] if arguments else []
        if call.name is None:
            call.held.append(arguments)
            return []
        return [self._told(call, arguments)]

    def _told(self, call: _Call, arguments: str) -> ToolCallDelta:
        held = "".join(call.held)
        call.told = True
        call.held.clear()
        return self._delta(call, call.name or "", held + arguments)

    def _delta(self, call: _Call, name: str | None, arguments: str) -> ToolCallDelta:
        return ToolCallDelta(
            part=_parts.call(self._choice, call.n),
            call=call.id or _parts.call_id(self._choice, call.n),
            name=name,
            arguments=arguments,
            choice=self._choice,
        )


def _text(arguments: bytes) -> str:
    """Text as it is, an object as its JSON, null as nothing."""
    if arguments[:1] == b'"':
        return json.decode(arguments, str, EngineProtocolError)
    return "" if arguments == b"null" else arguments.decode()
