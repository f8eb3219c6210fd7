"""Every setting of every engine can be read: msgspec finds a wrong bound only on first use."""

import msgspec
import pytest

from penstock import compose, registry
from penstock.config.schema import Config
from penstock.core.errors import ConfigError
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


@pytest.mark.parametrize(
    ("table", "param"),
    [
        ({"engine": "openai", "url": "ftp://here"}, "bindings.cloud.url"),
        ({"engine": "openai", "url": "http://bob:x@here", "key": "k"}, "bindings.cloud.url"),
        ({"engine": "ollama", "url": "http://here", "key": "a\nb"}, "bindings.cloud.key"),
    ],
)
def test_what_only_the_engine_finds_wrong_is_named_with_its_binding(
    table: dict[str, object], param: str
):
    with pytest.raises(ConfigError) as caught:
        compose.bindings(Config(bindings={"cloud": table}), {})
    assert caught.value.param == param
    assert caught.value.message.startswith(f"{param}: ")
