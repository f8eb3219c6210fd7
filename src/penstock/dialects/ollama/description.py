"""What Ollama's API takes and gives, for `/openapi.json`."""

from typing import Annotated, Final

from msgspec import Meta

from penstock.core.description import Described, Description
from penstock.dialects.ollama import lines, listings, shapes
from penstock.dialects.ollama.errors import ErrorBody

Digest = Annotated[
    str,
    Meta(pattern="^sha256[:-][0-9a-f]{64}$", description="`sha256:` and 64 hexadecimal digits."),
]
_MODEL: Final = "penstock-demo"


def _fetching(asked: type, example: dict[str, object]) -> Described:
    return Described(
        asked=(asked,),
        told=(lines.Status,),
        items=(lines.Status, ErrorBody),
        framing="ndjson",
        example=example,
    )


DESCRIPTION: Final = Description(
    error=ErrorBody,
    routes={
        ("POST", "/api/generate"): Described(
            asked=(shapes.Generate,),
            told=(lines.Generated,),
            items=(lines.Generated, ErrorBody),
            framing="ndjson",
            example={"model": _MODEL, "prompt": "Hello", "options": {"num_predict": 16}},
        ),
        ("POST", "/api/chat"): Described(
            asked=(shapes.Chat,),
            told=(lines.Chatted,),
            items=(lines.Chatted, ErrorBody),
            framing="ndjson",
            example={
                "model": _MODEL,
                "messages": [{"role": "user", "content": "Hello"}],
                "options": {"num_predict": 16},
            },
        ),
        ("GET", "/api/tags"): Described(told=(listings.Tags,)),
        ("POST", "/api/show"): Described(
            asked=(shapes.Named,), told=(listings.Shown,), example={"model": _MODEL}
        ),
        ("GET", "/api/ps"): Described(told=(listings.Running,)),
        ("GET", "/api/version"): Described(told=(listings.Version,)),
        ("POST", "/api/embed"): Described(
            asked=(shapes.Embed,),
            told=(listings.Embedded,),
            example={"model": _MODEL, "input": "Hello"},
        ),
        ("POST", "/api/embeddings"): Described(
            asked=(shapes.Embeddings,),
            told=(listings.OneEmbedded,),
            example={"model": _MODEL, "prompt": "Hello"},
        ),
        ("POST", "/api/pull"): _fetching(shapes.Pull, {"model": "hf.co/owner/name:Q4_K_M"}),
        ("POST", "/api/create"): _fetching(shapes.Create, {"model": "mine", "from": _MODEL}),
        ("POST", "/api/push"): _fetching(shapes.Pull, {"model": "mine"}),
        ("DELETE", "/api/delete"): Described(asked=(shapes.Named,), example={"model": "mine"}),
        ("POST", "/api/copy"): Described(
            asked=(shapes.Copy,), example={"source": "mine", "destination": "yours"}
        ),
        ("HEAD", "/api/blobs/{digest}"): Described(path={"digest": Digest}),
        ("POST", "/api/blobs/{digest}"): Described(
            asked=(bytes,), status=201, path={"digest": Digest}
        ),
    },
)
"""A file is uploaded as any bytes. `/api/push` is there to be refused."""
