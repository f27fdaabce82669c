"""The metrics of `asset-sync console`: counters count the facts, gauges are read on each scrape."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from service.adapters.telemetry.catalogue import PREFIX
from service.adapters.telemetry.console_catalogue import CONSOLE_BY_NAME
from service.adapters.telemetry.metrics import counter_of, show_build
from service.console.facts import (
    IndexRebuilt,
    OutcomesDropped,
    OutcomesIndexed,
    PageAnswered,
    ReplicaUnreachable,
    SearchEnded,
)
from service.core.facts import Fact, ObserverFailed


class ConsoleMeters:
    """An `Observer` that counts the facts of the console in a registry of Prometheus."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self._registry = registry
        described = CONSOLE_BY_NAME["console_search_duration_seconds"]
        self._seconds = Histogram(
            PREFIX + described.name,
            described.meaning,
            tuple(described.labels),
            buckets=described.buckets,
            registry=registry,
        )
        for values in described.combinations:
            self._seconds.labels(*values)
        self._partial = self._counter("console_searches_partial")
        self._pages = self._counter("console_pages")
        self._unreachable = self._counter("console_replicas_unreachable")
        self._indexed = self._counter("console_indexed")
        self._ignored = self._counter("console_ignored")
        self._dropped = self._counter("console_dropped")
        self._rebuilds = self._counter("console_rebuilds")
        self._errors = self._counter("observer_errors")
        show_build(registry, version)

    def note(self, fact: Fact) -> None:
        match fact:
            case OutcomesIndexed(outcomes, ignored):
                self._indexed.inc(outcomes)
                self._ignored.inc(ignored)
            case SearchEnded(kind, seconds, is_partial):
                self._seconds.labels(kind).observe(seconds)
                self._partial.inc(is_partial)
            case PageAnswered(answer):
                self._pages.labels(answer).inc()
            case OutcomesDropped(outcomes):
                self._dropped.inc(outcomes)
            case IndexRebuilt(why):
                self._rebuilds.labels(why).inc()
            case ReplicaUnreachable():
                self._unreachable.inc()
            case ObserverFailed():
                self._errors.inc()
            case _:
                pass

    def _counter(self, name: str) -> Counter:
        """Return a counter that shows each of its values as 0 from the start."""
        counter = counter_of(CONSOLE_BY_NAME[name], self._registry)
        if CONSOLE_BY_NAME[name].labels:
            for values in CONSOLE_BY_NAME[name].combinations:
                counter.labels(*values)
        return counter


class ConsoleGauges(Collector):
    """Gives Prometheus the gauges by their names in the catalogue."""

    def __init__(self, read: Callable[[], Mapping[str, float]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        for name, value in self._read().items():
            yield GaugeMetricFamily(
                PREFIX + name, CONSOLE_BY_NAME[name].meaning, value=float(value)
            )
