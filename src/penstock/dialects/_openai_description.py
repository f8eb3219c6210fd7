"""What OpenAI's three APIs take and give, for `/openapi.json`."""

from typing import Final

from penstock.core.description import Described, Description
from penstock.dialects import _openai_encode as chat
from penstock.dialects import _openai_text as text
from penstock.dialects._openai_cards import Model, ModelList
from penstock.dialects._openai_errors import ErrorBody
from penstock.dialects._openai_shapes import ChatBody

DONE: Final = "[DONE]"

_CHAT: Final = Described(
    asked=(ChatBody,),
    told=(chat.Completion,),
    items=(chat.Chunk, ErrorBody),
    last=DONE,
    example={"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16},
)
CHAT: Final = Description(
    error=ErrorBody,
    routes={
        ("POST", "/v1/chat/completions"): _CHAT,
        ("POST", "/chat/completions"): _CHAT,
        ("GET", "/v1/models"): Described(told=(ModelList,)),
        ("GET", "/v1/models/{id:path}"): Described(told=(Model,)),
    },
)


def completions(body: type) -> Description:
    """Of text completions; `body` is what they take."""
    both = Described(
        asked=(body, ChatBody),
        told=(text.TextCompletion, chat.Completion),
        items=(text.TextCompletion, chat.Chunk, ErrorBody),
        last=DONE,
        example={"prompt": "Once upon a time", "max_tokens": 16},
    )
    return Description(error=ErrorBody, routes={("POST", "/v1/completions"): both})


def embeddings(body: type, answer: type) -> Description:
    """Of embeddings."""
    one = Described(asked=(body,), told=(answer,), example={"input": "Hello"})
    return Description(error=ErrorBody, routes={("POST", "/v1/embeddings"): one})
