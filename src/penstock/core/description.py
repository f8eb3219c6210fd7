"""What a dialect says of its routes, for `/openapi.json`: the types that it reads and writes."""

from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

import msgspec

from penstock.core.ports import FramingName


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """One route. A *type* is whatever `wire.json` can read or write; several are alternatives.

    - `asked`: of the body, which is JSON; none: no body. `bytes` is a body of any bytes.
    - `form`: of the fields of the same body as a form (`multipart/form-data`).
    - `told`: of a whole answer with `status`, as JSON; none: its body is empty.
    - `texts`: media types of a whole answer that is text, or a picture (`image/*`).
    - `items`: of one event or line of a streamed answer in `framing`; `last` is the text of an
      event that is no JSON, such as `[DONE]`.
    - `also`: further statuses that are no error, and the type of their body; `None` is no body.
    - `path`, `query`, `headers`: types of parameters, by name. What they mean stands in
      `Meta.description`.
    - `example`: a body that works with a fresh Penstock.
    """

    asked: tuple[object, ...] = ()
    form: tuple[object, ...] = ()
    told: tuple[object, ...] = ()
    texts: tuple[str, ...] = ()
    status: int = 200
    items: tuple[object, ...] = ()
    framing: FramingName = "sse"
    last: str = ""
    also: Mapping[int, object] = {}
    path: Mapping[str, object] = {}
    query: Mapping[str, object] = {}
    headers: Mapping[str, object] = {}
    example: Mapping[str, object] = {}


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """A dialect. `routes`: by method and path template; `error`: the type of an error's body."""

    error: object
    routes: Mapping[tuple[str, str], Described]


@runtime_checkable
class Describing(Protocol):
    """A dialect that says what it takes and gives. One that doesn't is shown without types."""

    description: ClassVar[Description]
