"""The error tree: codes are unique, statuses are HTTP's, and every code finds its class again."""

import re
from pathlib import Path

from penstock.core.errors import (
    EngineError,
    GatewayError,
    InternalError,
    WrongMethodError,
    error_classes,
    from_code,
)


def test_codes_are_unique():
    classes = [cls for cls in error_classes() if cls not in (GatewayError, InternalError)]
    codes = [cls.code for cls in classes]
    assert len(set(codes)) == len(codes)


def test_every_code_finds_its_class_again():
    for cls in error_classes():
        if cls is not WrongMethodError:
            found = from_code(cls.code, "because")
            assert (found.code, found.status, found.message) == (cls.code, cls.status, "because")


def test_every_class_says_when_it_is_raised():
    assert [cls.__name__ for cls in error_classes() if not cls.__doc__] == []


def test_the_drawn_tree_names_every_class():
    drawn = (GatewayError.__module__, __import__("penstock.core.errors", fromlist=["x"]).__doc__)[1]
    assert [cls.__name__ for cls in error_classes() if cls.__name__ not in (drawn or "")] == []


def test_the_tree_of_the_python_page_is_part_of_it():
    page = (Path(__file__).parents[2] / "docs/clients/python.md").read_text()
    drawn = re.findall(r"^[│├└─ ]*(\w+Error) +(\d{3}) +(\w+)", page, re.MULTILINE)
    known = {(cls.__name__, str(cls.status), cls.code) for cls in error_classes()}
    assert len(drawn) > 15
    assert [row for row in drawn if row not in known] == []
    engines = {cls.__name__ for cls in error_classes() if issubclass(cls, EngineError)}
    assert engines <= {name for name, _, _ in drawn}
