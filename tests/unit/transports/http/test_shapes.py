"""Errors by the longest prefix, with the headers that are due."""

from typing import ClassVar, cast

import pytest

from penstock.core.errors import (
    BindingDownError,
    GatewayError,
    NotFoundError,
    OverloadedError,
    WrongMethodError,
)
from penstock.core.ports import Answer, Dialect
from penstock.transports.http.shapes import ErrorShapes


class Shape:
    """Only what an error needs of a dialect."""

    def __init__(self, name: str, *prefixes: str) -> None:
        self.name, self.prefixes = name, prefixes

    def error(self, error: GatewayError) -> Answer:
        """Its name."""
        return Answer(error.status, self.name.encode(), headers=self.headers)

    headers: ClassVar[dict[str, str]] = {"Retry-After": "9"}


SHAPES = ErrorShapes(
    cast(
        "list[Dialect]",
        [
            Shape("ollama", "/api"),
            Shape("lollms", "/api/v1/", "/generate"),
            Shape("llm", "/api/llm"),
        ],
    )
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/tags", b"ollama"),
        ("/api", b"ollama"),
        ("//api//v1//x", b"lollms"),
        ("/api/v1/x", b"lollms"),
        ("/api/v10", b"ollama"),
        ("/generate", b"lollms"),
        ("/api/llm/chat", b"llm"),
        ("/apix", b'{"error":{"message":"gone"}}'),
        ("", b'{"error":{"message":"gone"}}'),
    ],
)
def test_the_longest_prefix_decides(path: str, name: bytes) -> None:
    assert SHAPES.answer(path, NotFoundError("gone")).body == name


def test_due_headers() -> None:
    overloaded = OverloadedError("later", retry_after=1.2)
    assert SHAPES.answer("/", overloaded).headers == {"retry-after": "2"}
    assert SHAPES.answer("/api", overloaded).headers == {"Retry-After": "9"}
    assert SHAPES.answer("/", BindingDownError("down")).headers == {"retry-after": "5"}
    wrong = WrongMethodError("no", allow=("GET", "HEAD"))
    assert SHAPES.answer("/", wrong).headers == {"allow": "GET, HEAD"}


def test_browsers_get_a_page_without_markup_of_strangers() -> None:
    answer = SHAPES.answer("/", NotFoundError("<script>"), "text/html,*/*")
    assert answer.content_type == "text/html; charset=utf-8"
    assert b"&lt;script&gt;" in answer.body
