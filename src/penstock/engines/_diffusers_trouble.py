"""What goes wrong in a pipeline, as a client may be told it."""

import re
from typing import Final

import torch

_MOST: Final = 300
_MEMORY: Final = re.compile(r"out of memory|can't allocate|not enough memory|bad_alloc", re.I)
_DEVICE: Final = re.compile(r"CUDA error|device-side assert|CUBLAS_STATUS|CUDNN_STATUS")
_PATH: Final = re.compile(r"(?<![\w/])~?/[^\s'\",:;()]+")


def is_memory(error: BaseException) -> bool:
    """Whether memory ran out, a GPU's or main memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _MEMORY.search(str(error)) is not None


def is_fatal(error: BaseException) -> bool:
    """Whether the GPU's context is lost: nothing that this process asks of it will work again."""
    return not is_memory(error) and _DEVICE.search(str(error)) is not None


def said_of(error: BaseException) -> str:
    """Kind and first line of an error, without paths of this machine."""
    line = next(iter(str(error).strip().splitlines()), "")
    text = f"{type(error).__name__}: {_PATH.sub('…', line)}" if line else type(error).__name__
    return text if len(text) <= _MOST else text[: _MOST - 1] + "…"
