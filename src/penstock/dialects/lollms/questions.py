"""lollms' questions: listings by their path, tokens by their body (1.7 to 1.9)."""

from penstock.core.errors import InvalidRequestError
from penstock.core.ports import Call
from penstock.core.queries import ModelAsk, Query, TokensAsk
from penstock.dialects.lollms import shapes
from penstock.wire import json

ACTIVE = "active"
"""The form of `list_active_bindings`."""


def question(call: Call) -> Query:
    """Raises `InvalidRequestError`."""
    operation = call.route.operation
    match operation:
        case "tokenize" | "count_tokens":
            asked = json.decode(call.body, shapes.TokenizeBody, InvalidRequestError)
            ask = TokensAsk(
                model=_model(asked.model_name),
                binding=asked.binding_name or None,
                text=asked.text,
                add_bos=bool(asked.add_bos),
                add_eos=bool(asked.add_eos),
            )
            return Query(operation, ask=ask)
        case "detokenize":
            said = json.decode(call.body, shapes.DetokenizeBody, InvalidRequestError)
            ask = TokensAsk(
                model=_model(said.model_name),
                binding=said.binding_name or None,
                tokens=said.tokens,
            )
            return Query(operation, ask=ask)
        case "model_details":
            binding = call.path["binding"]
            model = _model(call.query.get("model_name"))
            return Query(operation, binding, ModelAsk(model, binding))
        case _:
            form = ACTIVE if call.route.path.endswith("/list_active_bindings") else ""
            return Query(operation, call.path.get("binding", ""), form=form)


def _model(name: str | None) -> str:
    return "" if name is None or name == "default" else name
