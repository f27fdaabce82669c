"""The metrics of `asset-sync ingress`: counters count the facts, gauges are read on each scrape.

What changes with each request is counted in plain numbers and given to Prometheus when it asks,
because each of the library's counters takes a lock.
"""

from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, product

from prometheus_client import Counter
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from service.adapters.telemetry.catalogue import PREFIX
from service.adapters.telemetry.ingress_catalogue import INGRESS_BY_NAME
from service.adapters.telemetry.metrics import counter_of, show_build
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
        self._answers = _Answers(source_names)
        registry.register(self._answers)
        self._refused = self._by_source("ingress_refused")
        self._unjudged = self._by_source("ingress_unjudged")
        self._turned_away = self._by_label("ingress_turned_away")
        self._keys = self._by_label("ingress_keys_fetched")
        self._replaced = self._counter("ingress_producers_replaced")
        self._errors = self._counter("observer_errors")
        show_build(registry, version)

    def note(self, fact: Fact) -> None:
        if type(fact) is RequestAnswered:
            self._answers.add(fact)
            return
        match fact:
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
        for source, why in product(self._source_names, INGRESS_BY_NAME[name].labels["why"]):
            counter.labels(source, why)
        return counter

    def _by_label(self, name: str) -> Counter:
        counter = self._counter(name)
        for values in INGRESS_BY_NAME[name].combinations:
            counter.labels(*values)
        return counter


class _Answers(Collector):
    """Counts the answers by source and status, and how long those with 200 took."""

    def __init__(self, source_names: Sequence[str]) -> None:
        self._requests = INGRESS_BY_NAME["ingress_requests"]
        self._duration = INGRESS_BY_NAME["ingress_request_duration_seconds"]
        self._counts = Counts(dict.fromkeys(product(source_names, USUAL_ANSWERS), 0))
        self._in_bucket = [0] * (len(self._duration.buckets) + 1)
        self._seconds = 0.0

    def add(self, fact: RequestAnswered) -> None:
        self._counts[fact.source, fact.answer] += 1
        if fact.answer == "200":
            self._in_bucket[bisect_left(self._duration.buckets, fact.seconds)] += 1
            self._seconds += fact.seconds

    def collect(self) -> Iterator[Metric]:
        name, meaning = PREFIX + self._requests.name, self._requests.meaning
        requests = CounterMetricFamily(name, meaning, labels=tuple(self._requests.labels))
        for (source, answer), count in self._counts.items():
            requests.add_metric((source, answer), count)
        yield requests
        bounds = [*map(str, self._duration.buckets), "+Inf"]
        yield HistogramMetricFamily(
            PREFIX + self._duration.name,
            self._duration.meaning,
            buckets=list(zip(bounds, accumulate(self._in_bucket), strict=True)),
            sum_value=self._seconds,
        )


class IngressGauges(Collector):
    """Gives Prometheus the gauges by their names in the catalogue."""

    def __init__(self, read: Callable[[], Mapping[str, float]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        for name, value in self._read().items():
            yield GaugeMetricFamily(
                PREFIX + name, INGRESS_BY_NAME[name].meaning, value=float(value)
            )
