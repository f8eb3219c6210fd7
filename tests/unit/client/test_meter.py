"""Metrics in constant memory, and what patience bears."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.client._metrics import Meter
from penstock.client._patience import Patience
from penstock.core.errors import EngineProtocolError, NotFoundError, UnavailableError
from penstock.core.events import Entry, Seq, TextDelta, Usage


def piece(seq: int = 1) -> Entry:
    return Entry(Seq(seq), 0, TextDelta(part=1, text="x"))


@given(gaps=st.lists(st.floats(1e-5, 100), min_size=1, max_size=60))
def test_gaps_are_never_told_too_small_nor_much_too_large(gaps: list[float]):
    meter = Meter()
    now = 5.0
    meter.begin(4.0)
    meter.observe([piece()], now)
    for gap in gaps:
        now += gap
        meter.observe([piece()], now)
    found = meter.metrics()
    ranked = sorted(gaps)
    for share, told in ((0.5, found.gap_p50), (0.99, found.gap_p99)):
        real = ranked[min(len(ranked), -int(-share * len(ranked) // 1)) - 1]
        assert told is not None
        assert real * 0.999 <= told <= real * 1.1
    assert found.first_token == 1.0
    assert found.tokens == len(gaps) + 1
    assert found.tokens_per_second == pytest.approx(len(gaps) / sum(gaps))


def test_pieces_of_one_read_have_no_gap_and_the_server_counts_better():
    meter = Meter()
    meter.begin(0)
    meter.observe([piece(n) for n in range(10)], 1.0)
    meter.observe([Entry(Seq(11), 0, Usage(input_tokens=1, output_tokens=99))], 2.0)
    found = meter.metrics()
    assert (found.gap_p50, found.gap_p99) == (0.0, 0.0)
    assert (found.tokens, found.events) == (99, 11)
    assert found.tokens_per_second is None


def test_nothing_yet():
    found = Meter().metrics()
    assert (found.first_token, found.gap_p50, found.tokens_per_second) == (None, None, None)


def test_patience_waits_longer_and_ends_and_is_renewed():
    now = [0.0]
    patience = Patience(10, lambda: now[0])
    trouble = UnavailableError("away")
    assert [patience.after(trouble) for _ in range(4)] == [0.0, 0.05, 0.1, 0.2]
    now[0] = 9.9
    with pytest.raises(UnavailableError):
        patience.after(trouble)
    patience.rewarded()
    assert patience.after(trouble) == 0.0
    assert patience.after(UnavailableError("busy", retry_after=3.0)) == 3.0


def test_what_will_not_pass_is_not_waited_for():
    patience = Patience(10, lambda: 0.0)
    with pytest.raises(NotFoundError):
        patience.after(NotFoundError("no"))
    with pytest.raises(EngineProtocolError):
        for _ in range(12):
            patience.after(EngineProtocolError("nonsense"))
