"""The gateway's counts in Prometheus' text format."""

import asyncio
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from typing_extensions import override

from penstock.gateway.gateway import Gateway
from penstock.gateway.metrics import Histogram

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def exposition(gateway: Gateway) -> bytes:
    """Everything, as of now."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Gateway(gateway))
    return generate_latest(registry)


class _Gateway(Collector):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @override
    def collect(self) -> Iterator[Metric]:
        yield from self._counters()
        yield from self._gauges()
        counted = self._gateway.metrics
        yield _histogram(
            "penstock_first_token_seconds",
            "From the start of a run to its first token",
            counted.first_token,
        )
        yield _histogram("penstock_gap_seconds", "Between two batches of tokens", counted.gap)
        yield _histogram(
            "penstock_log_latency_seconds",
            "From handing a batch to the log until readers can see it",
            counted.log_latency,
        )
        yield _histogram(
            "penstock_loop_lag_seconds",
            "How late the event loop wakes a timer",
            counted.loop_lag,
        )

    def _counters(self) -> Iterator[Metric]:
        counted = self._gateway.metrics
        requests = CounterMetricFamily(
            "penstock_requests",
            "Runs that ended",
            labels=("dialect", "binding", "model", "outcome"),
        )
        for labels, count in sorted(counted.requests.items()):
            requests.add_metric(labels, count)
        yield requests
        tokens = CounterMetricFamily(
            "penstock_tokens",
            "Tokens, as the engines count them",
            labels=("binding", "model", "kind"),
        )
        for names, count in sorted(counted.tokens.items()):
            tokens.add_metric(names, count)
        yield tokens

    def _gauges(self) -> Iterator[Metric]:
        counted, log = self._gateway.metrics, self._gateway.log_status()
        ready = self._gateway.trouble() is None
        for name, text, value in (
            ("streams_live", "Runs that are under way", counted.runs),
            ("queue_length", "Runs that their engine has not yet accepted", counted.waiting),
            ("tasks", "asyncio tasks of the process", len(asyncio.all_tasks())),
            ("readers", "Readers of streams, live or not", counted.readers),
            ("ready", "1 when the gateway can generate", int(ready)),
            ("log_writable", "1 when the stream log can be written", int(log.writable)),
            ("log_bytes", "Size of the stream log", log.bytes),
            ("log_backlog_bytes", "Bytes that wait to be written", log.backlog_bytes),
            ("log_sync_age_seconds", "Age of the oldest unsynced byte", log.unsynced_seconds),
        ):
            yield GaugeMetricFamily(f"penstock_{name}", text, value=value)


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(name, text)
    buckets: list[tuple[str, float]] = []
    count = 0
    bounds = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
    for bound, here in zip(bounds, histogram.counts, strict=True):
        count += here
        buckets.append((bound, count))
    family.add_metric((), buckets, histogram.sum)
    return family
