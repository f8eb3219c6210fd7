"""The table of routes: exact, templates, slashes, clashes."""

import pytest

from penstock.core.errors import ConfigError, UnknownRouteError, WrongMethodError
from penstock.transports.http.routing import OwnedRoute, Table
from penstock.transports.http.visits import Visit


async def nothing(_visit: Visit) -> None:
    """An endpoint that is never called here."""


def route(method: str, path: str, owner: str = "a") -> OwnedRoute:
    return OwnedRoute(method, path, owner, nothing)


TABLE = Table(
    [
        route("GET", "/v1/models"),
        route("GET", "/v1/models/{id:path}"),
        route("GET", "/v1/things/{id}"),
        route("DELETE", "/v1/things/{id}"),
        route("POST", "/v1/things/{id}/cancel"),
        route("GET", "/v1/things/{id}/{rest:path}"),
    ]
)


@pytest.mark.parametrize(
    ("path", "template", "params"),
    [
        ("/v1/models", "/v1/models", {}),
        ("//v1///models", "/v1/models", {}),
        ("/v1/models/org/name", "/v1/models/{id:path}", {"id": "org/name"}),
        ("/v1//models//org//name", "/v1/models/{id:path}", {"id": "org//name"}),
        ("/v1/things/7", "/v1/things/{id}", {"id": "7"}),
        ("/v1/things/7/a/b", "/v1/things/{id}/{rest:path}", {"id": "7", "rest": "a/b"}),
    ],
)
def test_what_is_found(path: str, template: str, params: dict[str, str]) -> None:
    match = TABLE.find("GET", path)
    assert match.route.path == template
    assert match.params == params


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/models/", "/v1/things/", "/v1/thing/7", "/V1/models"]
)
def test_what_is_not(path: str) -> None:
    with pytest.raises(UnknownRouteError):
        TABLE.find("GET", path)
    assert TABLE.allowed(path) == ()


def test_wrong_methods_name_the_right_ones() -> None:
    with pytest.raises(WrongMethodError) as caught:
        TABLE.find("POST", "/v1/things/7")
    assert caught.value.allow == ("DELETE", "GET", "HEAD", "OPTIONS")
    assert TABLE.find("HEAD", "/v1/things/7").route.method == "GET"
    assert TABLE.find("POST", "/v1/things/7/cancel").route.path == "/v1/things/{id}/cancel"


@pytest.mark.parametrize(
    "routes",
    [
        [route("GET", "/x"), route("GET", "/x", "b")],
        [route("GET", "/x"), route("GET", "/x")],
        [route("GET", "/x/{id}"), route("GET", "/x/{name}", "b")],
        [route("GET", "/x/{id}"), route("GET", "/x/list", "b")],
        [route("GET", "/v1/{rest:path}"), route("GET", "/v1/streams/{id}", "b")],
    ],
)
def test_clashes_are_errors(routes: list[OwnedRoute]) -> None:
    with pytest.raises(ConfigError, match="clashes with"):
        Table(routes)


def test_one_owner_may_be_more_special_and_methods_are_apart() -> None:
    Table([route("GET", "/x/{id}"), route("GET", "/x/list"), route("POST", "/x/{name}", "b")])
