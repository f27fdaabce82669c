"""The metrics of `asset-sync ingress`: counters count the facts, gauges are read on each scrape."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from prometheus_client import Counter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from service.adapters.telemetry.catalogue import PREFIX
from service.adapters.telemetry.ingress_catalogue import INGRESS_BY_NAME
from service.adapters.telemetry.metrics import counter_of, histogram_of, show_build
from service.core.facts import Fact, ObserverFailed
from service.webhooks.facts import (
    KeyFetched,
    KeyNotFetched,
    ProducerReplaced,
    RequestAnswered,
    RequestRefused,
    RequestTurnedAway,
    RequestUnjudged,
)

USUAL_ANSWERS = ("200", "401", "503")
"""The answers that each source shows from the start; the others appear with their first count."""


class IngressMeters:
    """An `Observer` that counts the facts of webhooks in a registry of Prometheus."""

    def __init__(
        self, registry: CollectorRegistry, version: str, source_names: Sequence[str]
    ) -> None:
        self._registry = registry
        self._source_names = source_names
        requests = self._counter("ingress_requests")
        for source in source_names:
            for answer in USUAL_ANSWERS:
                requests.labels(source, answer)
        # Looking a series up costs more than counting in it.
        self._requests = cache(requests.labels)
        self._seconds = histogram_of(INGRESS_BY_NAME["ingress_request_duration_seconds"], registry)
        self._refused = self._by_source("ingress_refused")
        self._unjudged = self._by_source("ingress_unjudged")
        self._turned_away = self._by_label("ingress_turned_away")
        self._keys = self._by_label("ingress_keys_fetched")
        self._replaced = self._counter("ingress_producers_replaced")
        self._errors = self._counter("observer_errors")
        show_build(registry, version)

    def note(self, fact: Fact) -> None:
        match fact:
            case RequestAnswered(source, answer, seconds):
                self._requests(source, answer).inc()
                if answer == "200":
                    self._seconds.observe(seconds)
            case RequestRefused(source, why):
                self._refused.labels(source, why).inc()
            case RequestUnjudged(source, unjudged):
                self._unjudged.labels(source, unjudged).inc()
            case RequestTurnedAway(_, busy):
                self._turned_away.labels(busy).inc()
            case KeyFetched():
                self._keys.labels("fetched").inc()
            case KeyNotFetched():
                self._keys.labels("failed").inc()
            case ProducerReplaced():
                self._replaced.inc()
            case ObserverFailed():
                self._errors.inc()
            case _:
                pass

    def _counter(self, name: str) -> Counter:
        return counter_of(INGRESS_BY_NAME[name], self._registry)

    def _by_source(self, name: str) -> Counter:
        """Return a counter that shows each source with each reason as 0 from the start."""
        counter = self._counter(name)
        for source in self._source_names:
            for why in INGRESS_BY_NAME[name].labels["why"]:
                counter.labels(source, why)
        return counter

    def _by_label(self, name: str) -> Counter:
        counter = self._counter(name)
        for values in INGRESS_BY_NAME[name].combinations:
            counter.labels(*values)
        return counter


class IngressGauges(Collector):
    """Gives Prometheus the gauges by their names in the catalogue."""

    def __init__(self, read: Callable[[], Mapping[str, float]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        for name, value in self._read().items():
            yield GaugeMetricFamily(
                PREFIX + name, INGRESS_BY_NAME[name].meaning, value=float(value)
            )
