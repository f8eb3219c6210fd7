"""`context`: Ollama's numbers for "go on from here" are the name of a stream of ours.

Ollama puts the token ids of the whole conversation there; to a client they mean nothing. Ours hold
a mark and the bytes of the stream's id, so that the next request continues what is in the log.
"""

from collections.abc import Sequence
from typing import Final

from penstock.core.errors import InvalidRequestError

_MARK: Final = (80, 69, 78, 83, 84, 79, 67, 75)
_LONGEST: Final = 255


def context_of(stream: str) -> list[int]:
    """The numbers that stand for a stream."""
    return [*_MARK, *stream.encode("ascii", "replace")]


def stream_of(context: Sequence[int]) -> str:
    """The stream that numbers stand for. Raises `InvalidRequestError` for anybody else's."""
    mark, rest = tuple(context[: len(_MARK)]), context[len(_MARK) :]
    if mark != _MARK or not 0 < len(rest) <= _LONGEST or not all(32 < n < 127 for n in rest):
        raise InvalidRequestError(
            "context: not one that this server gave; send messages to /api/chat instead",
            param="context",
        )
    return bytes(rest).decode()
