"""What a program says to a client, and says wrongly: told at once, by name, without a secret."""

from typing import Any

import pytest

from penstock import AsyncClient, Client
from penstock.client._address import Address
from penstock.client.connection import Connection
from penstock.client.steps import Open
from penstock.core import errors

CLIENTS = [Client, AsyncClient, Connection]


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:port", "http://[::1", "http://127.0.0.1:99999", "127.0.0.1:1", "x://a"],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_is_no_address(kind: Any, url: str):
    with pytest.raises(errors.InvalidRequestError, match="is no address"):
        kind(url)


@pytest.mark.parametrize("url", ["me:sk-secret@host", "http://me:sk-secret@host:port"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_wrong_address_does_not_show_its_password(kind: Any, url: str):
    with pytest.raises(errors.InvalidRequestError, match="is no address") as caught:
        kind(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "sent"), [(None, "Basic bWU6c2s6c2VjcmV0IQ=="), ("sk-1", "Bearer sk-1")]
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_password_in_the_address_is_sent_and_never_shown(kind: Any, key: str | None, sent: str):
    url = "http://me:sk:secret%21@127.0.0.1:1/v1"
    address = Address(url, key, {})
    step = next(address.open("GET", f"{address.v1}/models"))
    assert isinstance(step, Open)
    assert step.headers["Authorization"] == sent
    elsewhere = next(address.open("GET", "http://127.0.0.2/v1/models"))
    assert isinstance(elsewhere, Open)
    assert "Authorization" not in elsewhere.headers
    assert step.url == "http://127.0.0.1:1/v1/models"
    assert repr(kind(url)) == f"{kind.__name__}('http://127.0.0.1:1/v1')"
    assert address.url == kind(url).url


@pytest.mark.parametrize("key", ["sk-secret\n", "sk-secret\0", "sk-secrét", "sk-secret€"])
@pytest.mark.parametrize("kind", CLIENTS)
def test_a_key_that_no_header_holds(kind: Any, key: str):
    with pytest.raises(errors.InvalidRequestError, match="can't be sent") as caught:
        kind("http://127.0.0.1:1", key=key)
    assert caught.value.param == "key"
    assert "sk-" not in str(caught.value)


def test_an_empty_key_is_none():
    assert Address("http://127.0.0.1:1", "", {}).key is None


@pytest.mark.parametrize(
    ("settings", "param"),
    [({"timeout": 3}, "timeout"), ({"api": "openia"}, "api"), ({"timeouts": 3}, "timeouts")],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_setting_that_is_none(kind: Any, settings: dict[str, object], param: str):
    with pytest.raises(errors.InvalidRequestError) as caught:
        kind(**settings)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("prompt", "options", "param"),
    [
        (["Hi"], {}, "messages[0]"),
        ({"role": "user", "content": "Hi"}, {}, "messages"),
        (None, {}, "messages"),
        ([], {}, "messages"),
        ("a\ud800", {}, "messages[0]"),
        ("Hi", {"effort": "banana"}, "effort"),
        ("Hi", {"tools": 3}, "tools"),
        ("Hi", {"tempo": 3}, "tempo"),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_question_that_is_none(kind: Any, prompt: Any, options: dict[str, Any], param: str):
    with pytest.raises(errors.InvalidRequestError) as caught:
        kind().stream(prompt, **options)
    assert caught.value.param == param


def asked(prompt: object, **options: object) -> Any:
    client: Any = Client(model="m")
    return client.stream(prompt, **options)._plan.request


def test_none_is_not_given():
    nothing = dict.fromkeys(("tools", "stop", "seed", "effort", "json_schema", "system", "model"))
    assert asked("Hi", tool_choice=None, **nothing) == asked("Hi")
    client: Any = Client()
    drawing = client.image("x", size=None, seed=None, model=None)
    assert drawing.stream._plan.request == client.image("x").stream._plan.request


def test_a_developer_is_the_system():
    assert asked([{"role": "developer", "content": "Be kind."}]).messages[0].role == "system"
