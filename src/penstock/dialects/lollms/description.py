"""What lollms' API takes and gives, for `/openapi.json`."""

from typing import Annotated, Final

from msgspec import Meta

from penstock.core.description import Described, Description
from penstock.dialects._fastapi import Detail
from penstock.dialects.lollms import encode, listings, shapes

Wanted = Annotated[str, Meta(description="One of the binding's models; its default without.")]

_GENERATE: Final = Described(
    asked=(shapes.Body,),
    told=(encode.Envelope,),
    items=(encode.StreamChunk,),
    texts=("text/plain",),
    example={
        "input_data": [{"type": "text", "role": "user_prompt", "data": "Hello"}],
        "parameters": {"max_tokens": 16},
    },
)
_BINDINGS: Final = Described(told=(listings.Bindings,))
_PERSONALITIES: Final = Described(told=(listings.Personalities,))
_MODELS: Final = Described(told=(listings.BindingModels,))

DESCRIPTION: Final = Description(
    error=Detail,
    routes={
        ("GET", "/api/v1/health"): Described(told=(listings.Health,)),
        ("GET", "/api/v1/list_bindings"): _BINDINGS,
        ("GET", "/api/v1/list_active_bindings"): Described(told=(listings.ActiveBindings,)),
        ("GET", "/api/v1/list_personalities"): _PERSONALITIES,
        ("GET", "/api/v1/list_functions"): Described(told=(listings.FunctionNames,)),
        ("GET", "/api/v1/list_models"): Described(told=(listings.ModelFiles,)),
        ("GET", "/api/v1/list_available_models/{binding}"): _MODELS,
        ("GET", "/api/v1/get_default_bindings"): Described(told=(listings.Defaults,)),
        ("GET", "/api/v1/get_model_info/{binding}"): Described(
            told=(listings.ModelInfo,), query={"model_name": Wanted}
        ),
        ("POST", "/api/v1/generate"): _GENERATE,
        ("POST", "/api/v1/tokenize"): Described(
            asked=(shapes.TokenizeBody,), told=(listings.Tokens,), example={"text": "Hello"}
        ),
        ("POST", "/api/v1/detokenize"): Described(
            asked=(shapes.DetokenizeBody,), told=(listings.Text,), example={"tokens": [3, 4]}
        ),
        ("POST", "/api/v1/count_tokens"): Described(
            asked=(shapes.TokenizeBody,), told=(listings.TokenCount,), example={"text": "Hello"}
        ),
        ("POST", "/generate"): _GENERATE,
        ("GET", "/list_bindings"): _BINDINGS,
        ("GET", "/list_personalities"): _PERSONALITIES,
        ("GET", "/list_available_models/{binding}"): _MODELS,
    },
)
