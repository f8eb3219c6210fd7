"""Addresses of pictures that need no key."""

from urllib.parse import parse_qs, urlsplit

import pytest

from penstock.core.errors import ForbiddenError
from penstock.core.secrets import Secret
from penstock.gateway.addresses import Addresses

SHA = "ab" * 32
OURS = Addresses(Secret("0" * 64), 3600)


def parts(address: str) -> tuple[str, str, int, str]:
    split = urlsplit(address)
    _, _, _, stream, sha = split.path.split("/")
    query = parse_qs(split.query)
    return stream, sha, int(query["until"][0]), query["signature"][0]


def test_an_address_is_good_for_its_picture_for_its_time():
    found = parts(OURS.address("s1", SHA, 1_000_000))
    assert found[:2] == ("s1", SHA)
    assert 3600 <= found[2] - 1_000_000 < 3900
    OURS.check(*found, now=found[2])
    with pytest.raises(ForbiddenError, match="expired"):
        OURS.check(*found, now=found[2] + 1)


def test_addresses_made_soon_after_each_other_are_the_same():
    assert OURS.address("s1", SHA, 1_000_001) == OURS.address("s1", SHA, 1_000_100)


@pytest.mark.parametrize("changed", range(4))
def test_nothing_of_it_can_be_changed(changed: int):
    stream, sha, until, signature = parts(OURS.address("s1", SHA, 1_000_000))
    forged = [
        ("s2", sha, until, signature),
        (stream, "cd" * 32, until, signature),
        (stream, sha, until + 60, signature),
        (stream, sha, until, "é" + signature[1:]),
    ]
    with pytest.raises(ForbiddenError, match="not one of ours"):
        OURS.check(*forged[changed], now=1_000_000)


def test_another_key_is_another_gateway():
    found = parts(Addresses(Secret("1" * 64), 3600).address("s1", SHA, 1_000_000))
    with pytest.raises(ForbiddenError):
        OURS.check(*found, now=1_000_000)
