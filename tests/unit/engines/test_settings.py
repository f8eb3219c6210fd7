"""Every setting of every engine can be read: msgspec finds a wrong bound only on first use."""

import msgspec
import pytest

from penstock import registry
from penstock.config.schema import Config
from penstock.core.secrets import Secret

KINDS = [registry.load("engines", name).Config for name in sorted(registry.names("engines"))]


def secret(kind: type, value: object) -> object:
    assert kind is Secret
    return Secret(str(value))


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        pytest.param(kind, field, id=f"{kind.__module__}.{field.name}")
        for kind in (*KINDS, Config)
        for field in msgspec.structs.fields(kind)
    ],
)
def test_a_setting_can_be_read(kind: type, field: msgspec.structs.FieldInfo):
    msgspec.json.Decoder(field.type, dec_hook=secret)
    assert field.encode_name
