"""A conversation: its turns, and how it is saved. No I/O but the one file."""

from typing import Final

import msgspec

from penstock.cli import _saving
from penstock.config import paths
from penstock.core.errors import InvalidRequestError
from penstock.core.messages import Message, say
from penstock.core.request import Request, Sampling
from penstock.wire import json

STOPPED: Final = "(stopped here)"


class Turn(msgspec.Struct, frozen=True):
    """One message. `stopped`: it is what arrived before it was cut short."""

    role: str
    text: str
    stopped: bool = False


class _Saved(msgspec.Struct, frozen=True):
    model: str
    system: str
    turns: list[Turn]


class Conversation:
    """What has been said, by whom, and to which model."""

    def __init__(self, model: str, system: str, sampling: Sampling) -> None:
        self.model = model
        self.system = system
        self.turns: list[Turn] = []
        self._sampling = sampling

    def request(self, text: str) -> Request:
        """The next request, with `text` as the user's."""
        messages: list[Message] = [say("system", self.system)] if self.system else []
        messages += [
            say("assistant" if turn.role == "assistant" else "user", turn.text)
            for turn in self.turns
        ]
        messages.append(say("user", text))
        return Request(
            model=self.model,
            messages=tuple(messages),
            sampling=self._sampling,
            stream=True,
            include_usage=True,
        )

    def keep(self, asked: str, answer: str, *, stopped: bool) -> bool:
        """Adds a question and its answer. A question without any answer is not kept."""
        if not answer:
            return False
        self.turns += [Turn("user", asked), Turn("assistant", answer, stopped)]
        return True

    def clear(self) -> None:
        """Forgets what was said; model and system prompt stay."""
        self.turns.clear()

    def save(self, name: str) -> None:
        """Writes it: JSON for `.json`, else Markdown. Never over a file that is there."""
        path = paths.place(name)
        data = self._json() if path.suffix == ".json" else self._markdown().encode()
        try:
            _saving.make(path, data)
        except FileExistsError as error:
            raise InvalidRequestError(f"{path} is there already; choose another name") from error
        except OSError as error:
            raise InvalidRequestError(f"{path} can't be written: {error.strerror}") from error

    def _json(self) -> bytes:
        return json.encode(_Saved(self.model, self.system, self.turns)) + b"\n"

    def _markdown(self) -> str:
        parts = [f"# A conversation with {self.model or 'the default model'}"]
        if self.system:
            parts.append(f"*System prompt:* {self.system}")
        for turn in self.turns:
            mark = f"\n\n*{STOPPED}*" if turn.stopped else ""
            parts.append(f"**{'You' if turn.role == 'user' else 'Model'}:**\n\n{turn.text}{mark}")
        return "\n\n".join(parts) + "\n"
