"""Bodies of the other routes: models, vectors, the store."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from penstock.core.errors import InvalidRequestError, ModalityError, UnsupportedParameterError
from penstock.core.ports import Call
from penstock.core.queries import BlobAsk, CopyAsk, EmbedAsk, Query
from penstock.core.request import Fetch, Request
from penstock.dialects.ollama import shapes
from penstock.wire import json

EMBED: Final = "embed"
EMBEDDINGS: Final = "embeddings"
PULL: Final = "pull"
_NOT_MADE: Final = (
    "adapters",
    "messages",
    "quantize",
    "quantization",
    "modelfile",
    "path",
    "renderer",
    "parser",
    "remote_host",
)
_DIGEST: Final = re.compile(r"sha256[:-]([0-9a-f]{64})")


def question(call: Call) -> Request | Query:
    """What a route other than generate and chat asks. Raises `InvalidRequestError`."""
    operation = call.route.operation
    asked = _BODIES.get(call.route.path)
    if asked is not None:
        return asked(call.body)
    if operation in ("has_blob", "put_blob"):
        return Query(operation, ask=BlobAsk(_digest(call.path["digest"], "digest")))
    return Query(operation)


def _push(_: bytes) -> Query:
    raise ModalityError("this server pushes no models")


def _copy(data: bytes) -> Query:
    body = json.decode(data, shapes.Copy, InvalidRequestError)
    return Query("copy_model", ask=CopyAsk(body.source, body.destination))


def _name(data: bytes) -> str:
    body = json.decode(data, shapes.Named, InvalidRequestError)
    return _required(body.model or body.name)


def _show(data: bytes) -> Query:
    """`verbose` asks for the tokenizer's lists, which nobody here has read."""
    body = json.decode(data, shapes.Named, InvalidRequestError)
    ignored = ("verbose",) if body.verbose else ()
    return Query("model_details", _required(body.model or body.name), ignored=ignored)


def _required(name: str | None) -> str:
    if not name:
        raise InvalidRequestError("model is required", param="model")
    return name


def _embed(data: bytes) -> Query:
    body = json.decode(data, shapes.Embed, InvalidRequestError)
    if not body.input:
        return Query("load_model", body.model, form=EMBED, ignored=_hints(body))
    ask = EmbedAsk(
        model=body.model,
        texts=(body.input,) if isinstance(body.input, str) else body.input,
        dimensions=body.dimensions or None,
        truncate=body.truncate is not False,
        param="input",
    )
    return Query("embed", body.model, ask, EMBED, _hints(body))


def _embeddings(data: bytes) -> Query:
    body = json.decode(data, shapes.Embeddings, InvalidRequestError)
    if not body.prompt:
        return Query("load_model", body.model, form=EMBEDDINGS, ignored=_hints(body))
    ask = EmbedAsk(model=body.model, texts=(body.prompt,), truncate=True, param="prompt")
    return Query("embed", body.model, ask, EMBEDDINGS, _hints(body))


def _hints(body: shapes.Embed | shapes.Embeddings) -> tuple[str, ...]:
    said = {"options": body.options, "keep_alive": body.keep_alive}
    return tuple(name for name, value in said.items() if value not in (None, ""))


def _pull(data: bytes) -> Request:
    body = json.decode(data, shapes.Pull, InvalidRequestError)
    return Request(
        model=_required(body.model or body.name),
        stream=body.stream is not False,
        task="pull",
        work=Fetch(),
        form=PULL,
        ignored=("insecure",) if body.insecure else (),
    )


def _create(data: bytes) -> Request:
    body = json.decode(data, shapes.Create, InvalidRequestError)
    for name in _NOT_MADE:
        if getattr(body, name):
            raise UnsupportedParameterError(
                f"{name}: not supported; a model is made of a GGUF file or another model, with "
                "system, license and parameters",
                param=name,
            )
    if not body.source and not body.files:
        raise InvalidRequestError("from: a model, or files: uploaded blobs", param="from")
    files = {
        name: f"sha256:{_digest(digest, f'files.{name}')}"
        for name, digest in (body.files or {}).items()
    }
    text = body.license if isinstance(body.license, str) else "\n\n".join(body.license or ())
    parameters = {n: value for n, value in (body.parameters or {}).items() if value is not None}
    return Request(
        model=_required(body.model or body.name),
        stream=body.stream is not False,
        task="create",
        work=Fetch(
            source=body.source or "",
            files=files,
            system=body.system or "",
            template=body.template or "",
            license=text,
            parameters=parameters,
        ),
        form=PULL,
        ignored=tuple(name for name in ("requires", "info") if getattr(body, name)),
    )


def _digest(text: str, param: str) -> str:
    found = _DIGEST.fullmatch(text)
    if found is None:
        raise InvalidRequestError(f"{param}: sha256:… with 64 hexadecimal digits", param=param)
    return found.group(1)


_BODIES: Final[Mapping[str, Callable[[bytes], Request | Query]]] = {
    "/api/pull": _pull,
    "/api/create": _create,
    "/api/embed": _embed,
    "/api/embeddings": _embeddings,
    "/api/show": _show,
    "/api/delete": lambda data: Query("delete_model", _name(data)),
    "/api/copy": _copy,
    "/api/push": _push,
}
