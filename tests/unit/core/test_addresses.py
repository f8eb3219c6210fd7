"""What is the address of a server, and what is none."""

import pytest

from penstock.core.addresses import parts_of


@pytest.mark.parametrize(
    "url",
    ["http://a", "https://user:word@a.example.:1/v1", "http://[::1]:8", "http://bücher.example"],
)
def test_addresses(url: str):
    parts = parts_of(url)
    assert parts is not None
    assert parts.geturl() == url


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "a:1",
            "ftp://a",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:x",
            "http://a:65536",
        ),
        *("http://[::1", "http://a..b", f"http://{'a' * 64}.example"),
    ],
)
def test_what_is_none(url: str):
    assert parts_of(url) is None
