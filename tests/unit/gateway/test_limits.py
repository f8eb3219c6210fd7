"""What one key may use."""

import pytest

from penstock.core.errors import OverloadedError
from penstock.core.principals import LOCAL, Principal
from penstock.gateway.limits import Allowance, Limits


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


def test_a_key_without_limits_is_not_counted():
    limits = Limits(Clock())
    for _ in range(1_000):
        limits.enter(LOCAL)
    assert limits.allowance(LOCAL) is None


def test_a_minute_begins_with_its_first_request():
    clock, key = Clock(), Principal(id="k", requests_per_minute=2)
    limits = Limits(clock)
    assert limits.allowance(key) == Allowance(2, 2, 1_060)
    clock.now += 30_000
    limits.enter(key)()
    assert limits.allowance(key) == Allowance(2, 1, 1_090)
    clock.now += 10_500
    limits.enter(key)()
    with pytest.raises(OverloadedError, match="2 requests a minute") as caught:
        limits.enter(key)
    assert caught.value.retry_after == 49.5
    assert limits.allowance(key) == Allowance(2, 0, 1_090)
    clock.now += 49_499
    with pytest.raises(OverloadedError, match="in 1 seconds"):
        limits.enter(key)
    clock.now += 1
    limits.enter(key)()
    assert limits.allowance(key) == Allowance(2, 1, 1_150)


def test_keys_do_not_share_a_limit():
    limits = Limits(Clock())
    for name in ("a", "b"):
        limits.enter(Principal(id=name, requests_per_minute=1, concurrent=1))


def test_a_place_is_free_once_left_and_only_once():
    limits, key = Limits(Clock()), Principal(id="k", concurrent=2)
    first, second = limits.enter(key), limits.enter(key)
    with pytest.raises(OverloadedError, match="2 at a time") as caught:
        limits.enter(key)
    assert caught.value.retry_after
    first()
    first()
    limits.enter(key)
    with pytest.raises(OverloadedError):
        limits.enter(key)
    second()
    limits.enter(key)


def test_what_is_refused_is_not_counted():
    clock, key = Clock(), Principal(id="k", concurrent=1, requests_per_minute=3)
    limits = Limits(clock)
    leave = limits.enter(key)
    for _ in range(9):
        with pytest.raises(OverloadedError):
            limits.enter(key)
    leave()
    limits.enter(key)()
    assert limits.allowance(key) == Allowance(3, 1, 1_060)


def test_runs_of_an_earlier_minute_still_hold_their_places():
    clock, key = Clock(), Principal(id="k", concurrent=1, requests_per_minute=1)
    limits = Limits(clock)
    leave = limits.enter(key)
    clock.now += 60_000
    with pytest.raises(OverloadedError, match="1 at a time"):
        limits.enter(key)
    leave()
    limits.enter(key)


def test_a_clock_that_was_set_back_shuts_nobody_out():
    clock, key = Clock(), Principal(id="k", requests_per_minute=1)
    limits = Limits(clock)
    limits.enter(key)()
    clock.now -= 500_000
    limits.enter(key)()
