"""Part numbers for engines whose upstream has none, or has unreliable ones.

Within one choice: 0 is the reasoning, 1 the text, tool calls count from 2 in the order in which
they appeared. Further choices follow at a fixed distance, so that a number means one part in the
whole stream.
"""

from typing import Final

from penstock.core.errors import EngineProtocolError

REASONING: Final = 0
TEXT: Final = 1
FIRST_CALL: Final = 2
STRIDE: Final = 1024
"""The distance between two choices; no choice may have more parts."""


def reasoning(choice: int) -> int:
    """The part of a choice's thinking."""
    return choice * STRIDE + REASONING


def text(choice: int) -> int:
    """The part of a choice's answer."""
    return choice * STRIDE + TEXT


def call(choice: int, n: int) -> int:
    """The part of the n-th (0-based) tool call of a choice.

    Raises `EngineProtocolError` for more calls than there are numbers.
    """
    if n >= STRIDE - FIRST_CALL:
        raise EngineProtocolError("the upstream makes more tool calls than can be told apart")
    return choice * STRIDE + FIRST_CALL + n


def call_id(choice: int, n: int) -> str:
    """An id for a call to which the upstream gave none: the same at every reading."""
    return f"call_{n}" if choice == 0 else f"call_{choice}_{n}"
