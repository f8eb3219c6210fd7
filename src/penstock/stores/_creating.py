"""What a created model may say of itself. Names, types and units are Ollama's ("Valid Parameters
and Values" in its Modelfile document, and `options` in its API document).
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from penstock.core.errors import InvalidRequestError, UnsupportedParameterError
from penstock.core.request import Fetch
from penstock.core.stores import StoredModel
from penstock.wire import json

Value = bool | float | int | str | list[str]
_MOST: Final = 2**31 - 1


class _Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """Those that are numbers, within what a request may ask for too."""

    num_predict: Annotated[int, Meta(ge=-_MOST, le=_MOST)] = 0
    top_k: Annotated[int, Meta(ge=0, le=_MOST)] = 0
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] = 0
    repeat_last_n: Annotated[int, Meta(ge=-1, le=_MOST)] = 0
    temperature: Annotated[float, Meta(ge=0, le=100)] = 0
    top_p: Annotated[float, Meta(ge=0, le=1)] = 0
    min_p: Annotated[float, Meta(ge=0, le=1)] = 0
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0
    repeat_penalty: Annotated[float, Meta(gt=0)] = 1


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
        texts = [value] if isinstance(value, str) else _texts(value, at)
        # An empty one would end every answer before its first word.
        return [text for text in texts if text]
    if name in _Numbers.__struct_fields__:
        plain = int(value) if isinstance(value, float) and value.is_integer() else value
        found = json.convert({name: plain}, _Numbers, InvalidRequestError, "parameters")
        number: Value = getattr(found, name)
        return number
    if name in _HINTS:
        return value
    raise InvalidRequestError(f"there is no parameter {name!r}", param=at)


def _texts(value: Value, at: str) -> list[str]:
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
