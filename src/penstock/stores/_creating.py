"""What a created model may say of itself. Names, types and units are Ollama's ("Valid Parameters
and Values" in its Modelfile document, and `options` in its API document).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from penstock.core.errors import InvalidRequestError, UnsupportedParameterError
from penstock.core.request import Fetch
from penstock.core.stores import StoredModel

Value = float | int | str | list[str]

_INTEGERS: Final = frozenset({"num_predict", "top_k", "seed", "repeat_last_n"})
_NUMBERS: Final = frozenset(
    {
        "temperature",
        "top_p",
        "min_p",
        "presence_penalty",
        "frequency_penalty",
        "repeat_penalty",
    }
)
_HINTS: Final = frozenset(
    {
        "num_ctx",
        "num_keep",
        "num_batch",
        "num_gpu",
        "num_thread",
        "main_gpu",
        "numa",
        "low_vram",
        "use_mmap",
        "use_mlock",
        "vocab_only",
        "f16_kv",
        "logits_all",
        "draft_num_predict",
    }
)
"""How to run it, which the binding's own settings say: kept and shown, not obeyed."""
_REFUSED: Final = frozenset(
    {"mirostat", "mirostat_eta", "mirostat_tau", "tfs_z", "typical_p", "penalize_newline"}
)


def check(work: Fetch) -> dict[str, Value]:
    """The parameters, in their types.

    Raises `UnsupportedParameterError` for what would change the answer and can't be honoured,
    `InvalidRequestError` for what nobody knows.
    """
    if work.template:
        raise UnsupportedParameterError(
            "a model's chat template is the one in its GGUF file: a template in Go's language "
            "can't be run here",
            param="template",
        )
    return {name: _checked(name, value) for name, value in work.parameters.items()}


def _checked(name: str, value: Value) -> Value:
    at = f"parameters.{name}"
    if name in _REFUSED:
        raise UnsupportedParameterError(f"no engine here supports {name}", param=at)
    if name == "stop":
        return [value] if isinstance(value, str) else _texts(value, at)
    if name in _INTEGERS | _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidRequestError(f"{name} is a number", param=at)
        if name in _INTEGERS and value != int(value):
            raise InvalidRequestError(f"{name} is a whole number", param=at)
        return int(value) if name in _INTEGERS else value
    if name in _HINTS:
        return value
    raise InvalidRequestError(f"there is no parameter {name!r}", param=at)


def _texts(value: Value, at: str) -> Value:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InvalidRequestError("stop is a text or a list of texts", param=at)
    return value


def made(base: StoredModel, name: str, work: Fetch, now: int) -> StoredModel:
    """The new model: what is not said is the base's."""
    parameters: Mapping[str, Value] = base.parameters | check(work)
    return msgspec.structs.replace(
        base,
        name=name,
        modified=now,
        origin=base.name or base.origin,
        system=work.system or base.system,
        license=work.license or base.license,
        parameters=dict(parameters),
    )
