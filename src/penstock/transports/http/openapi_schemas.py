"""Types to JSON schemas, each dialect's under names of its own."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast, get_args

import msgspec
from msgspec import UNSET, UnsetType, inspect

from penstock.wire import json

Schema = dict[str, object]


class Schemas:
    """All types of one dialect in one direction. `components` has their schemas under
    `PREFIX.NAME`.

    What goes out is written by msgspec, which writes every field that is not UNSET: with
    `written`, those are required.
    """

    def __init__(self, prefix: str, kinds: Iterable[object], *, written: bool) -> None:
        known = list(dict.fromkeys(kind for kind in kinds if kind is not bytes))
        template = f"#/components/schemas/{prefix}.{{name}}"
        found, components = json.schema(known, template)
        shown = cast("dict[str, Schema]", components)
        self._schemas = dict(zip(known, found, strict=True))
        if written:
            for cls in _structs(known):
                _require(cls, shown)
        self.components = {f"{prefix}.{name}": schema for name, schema in shown.items()}

    def of(self, kind: object) -> object:
        """One type's schema."""
        return self._schemas[kind]

    def any_of(self, kinds: Sequence[object]) -> object:
        """One of several."""
        found = [self._schemas[kind] for kind in dict.fromkeys(kinds)]
        return found[0] if len(found) == 1 else {"anyOf": found}


def _require(cls: type, components: Mapping[str, Schema]) -> None:
    name = cls.__name__
    if name not in components:
        name = f"{cls.__module__}.{cls.__qualname__}"
    config = cast("type[msgspec.Struct]", cls).__struct_config__
    tag = [config.tag_field] if config.tag_field else []
    required = tag + [
        field.encode_name
        for field in msgspec.structs.fields(cls)
        if not _may_be_unset(field.type)
        and (field.required or not (config.omit_defaults or field.default is UNSET))
    ]
    components[name]["required"] = required


def _may_be_unset(kind: object) -> bool:
    return UnsetType in get_args(kind)


def _structs(kinds: Sequence[object]) -> list[type]:
    """Every struct class that these types hold."""
    found: dict[type, None] = {}
    waiting: list[object] = list(inspect.multi_type_info(kinds))
    while waiting:
        info = waiting.pop()
        if isinstance(info, inspect.StructType):
            if info.cls in found:
                continue
            found[info.cls] = None
            waiting += [field.type for field in info.fields]
        elif isinstance(info, inspect.Metadata):
            waiting.append(info.type)
        elif isinstance(info, inspect.UnionType):
            waiting += info.types
        elif isinstance(info, inspect.TupleType):
            waiting += info.item_types
        elif isinstance(info, inspect.DictType):
            waiting.append(info.value_type)
        elif isinstance(info, inspect.CollectionType):
            waiting.append(info.item_type)
    return list(found)
