"""Which keys a request presents."""

import pytest

from penstock.transports.http.exchange import presented_keys

NAMES = ("authorization", "x-api-key")


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, []),
        ({"authorization": "Bearer abc"}, ["abc"]),
        ({"authorization": "bEaReR   abc "}, ["abc"]),
        ({"authorization": "Bearer"}, []),
        ({"authorization": "Basic abc"}, []),
        ({"authorization": ""}, []),
        ({"x-api-key": " k "}, ["k"]),
        ({"x-api-key": "k", "authorization": "Bearer a"}, ["a", "k"]),
        ({"api-key": "k"}, []),
    ],
)
def test_presented_keys(headers: dict[str, str], found: list[str]) -> None:
    assert presented_keys(headers, NAMES) == found
