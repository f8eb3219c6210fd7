"""Figures of an answer."""

from penstock.cli._measures import Measures
from penstock.core.events import Done, TextDelta, Usage


def test_tokens_come_from_usage_and_time_from_the_request():
    measures = Measures(began=10.0)
    for n in range(5):
        measures.take([TextDelta(part=1, text="a")], 11.0 + n * 0.1)
    measures.take([Usage(input_tokens=1, output_tokens=40), Done(reason="length")], 12.0)
    figures = measures.figures(12.0, malformed=1, stream="s")
    assert (figures.tokens, figures.counted, figures.chunks) == (40, "usage", 5)
    assert (figures.duree_s, figures.duration_s) == (2.0, 2.0)
    assert (figures.vitesse_tps, figures.tokens_per_second) == (20.0, 20.0)
    assert (figures.first_token_s, figures.gap_p50_ms, figures.gap_p99_ms) == (1.0, 100.0, 100.0)
    assert (figures.finish_reason, figures.malformed, figures.stream) == ("length", 1, "s")


def test_without_usage_chunks_are_called_chunks():
    measures = Measures(began=0.0)
    measures.take([TextDelta(part=1, text="a"), TextDelta(part=1, text="b")], 1.0)
    figures = measures.figures(2.0, malformed=0, stream=None)
    assert (figures.tokens, figures.counted) == (2, "chunks")
    assert figures.gap_p50_ms is None


def test_nothing_at_all_divides_by_nothing():
    figures = Measures(began=1.0).figures(1.0, malformed=0, stream=None)
    assert (figures.tokens, figures.vitesse_tps, figures.first_token_s) == (0, 0.0, None)
