"""The metrics of `translate`: counters count the facts, gauges are read from the sources' state."""

import platform
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import Counter, Histogram, Info
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from service.adapters.telemetry.age_histogram import Ages
from service.adapters.telemetry.catalogue import BY_NAME, PREFIX
from service.adapters.telemetry.record_age import begins_utc_ms
from service.adapters.telemetry.translate_catalogue import RESULTS, TRANSLATE_BY_NAME
from service.core.facts import (
    DeadLettersTruncated,
    Fact,
    ObserverFailed,
    OffsetMapUnused,
    PositionLost,
    TransactionRefused,
)
from service.core.model import Partition
from service.translation.facts import ReadEnded, RecordsTranslated
from service.translation.status import SourceStatus


class TranslateMeters:
    """Counts the facts of all sources in a registry; `of` gives the observer of one source."""

    def __init__(
        self,
        registry: CollectorRegistry,
        sources: Iterable[str],
        hosts: Iterable[str],
        version: str,
    ) -> None:
        self._registry = registry
        self._records = self._counter("translated_records")
        self._items = self._counter("translated_items")
        self._transactions = self._counter("translate_transactions")
        self._ages = Ages(TRANSLATE_BY_NAME["raw_record_age_seconds"])
        registry.register(self._ages)
        self._durations = self._histogram("translate_transaction_duration_seconds")
        self._reads = self._histogram("read_duration_seconds")
        self._times: dict[type[Fact], Counter] = {
            fact: Counter(PREFIX + name, BY_NAME[name].meaning, registry=registry)
            for fact, name in (
                (PositionLost, "positions_lost"),
                (OffsetMapUnused, "offset_maps_unused"),
                (DeadLettersTruncated, "dead_letters_truncated"),
                (ObserverFailed, "observer_errors"),
            )
        }
        for source in sources:
            self._begin_at_zero(source)
        for host in hosts:
            for ended in TRANSLATE_BY_NAME["read_duration_seconds"].labels["ended"]:
                self._reads.labels(host, ended)
        build = Info(PREFIX + "build", BY_NAME["build"].meaning, registry=registry)
        build.info({"version": version, "python": platform.python_version()})

    def note(self, fact: Fact) -> None:
        """Count a fact that belongs to no source, such as a read."""
        if isinstance(fact, ReadEnded):
            self._reads.labels(fact.host, fact.ended).observe(fact.seconds)
        elif (counter := self._times.get(type(fact))) is not None:
            counter.inc()

    def of(self, source: str) -> "SourceMeters":
        """Return an observer for the facts of one source."""
        return SourceMeters(self, source)

    def note_of(self, source: str, fact: Fact) -> None:
        """Count a fact of a source."""
        match fact:
            case RecordsTranslated():
                self._count(source, fact)
            case TransactionRefused(why):
                self._transactions.labels(source, why).inc()
            case _:
                self.note(fact)

    def _count(self, source: str, fact: RecordsTranslated) -> None:
        self._transactions.labels(source, "committed").inc()
        self._durations.labels(source).observe(fact.seconds)
        self._records.labels(source).inc(fact.records)
        results = Counts(result for one in fact.completed for result in one.results)
        for (result, reason), count in results.items():
            self._items.labels(source, result, reason or "").inc(count)
        now_ms = time.time() * 1000
        ages = [
            now_ms - begins_utc_ms(one.record_timestamp_ms, one.received_utc_ms)
            for one in fact.completed
        ]
        self._ages.of(source).add(ages)

    def _begin_at_zero(self, source: str) -> None:
        """Show every count of a source: Prometheus sees an increase only after a first value."""
        self._records.labels(source)
        self._durations.labels(source)
        self._ages.of(source)
        for result, reason in RESULTS:
            self._items.labels(source, result, reason)
        for result in TRANSLATE_BY_NAME["translate_transactions"].labels["result"]:
            self._transactions.labels(source, result)

    def _counter(self, name: str) -> Counter:
        metric = TRANSLATE_BY_NAME[name]
        labels = tuple(metric.labels)
        return Counter(PREFIX + name, metric.meaning, labels, registry=self._registry)

    def _histogram(self, name: str) -> Histogram:
        metric = TRANSLATE_BY_NAME[name]
        labels = tuple(metric.labels)
        return Histogram(
            PREFIX + name, metric.meaning, labels, buckets=metric.buckets, registry=self._registry
        )


class SourceMeters:
    """An `Observer` that counts the facts of one source."""

    def __init__(self, meters: TranslateMeters, source: str) -> None:
        self._meters = meters
        self._source = source

    def note(self, fact: Fact) -> None:
        self._meters.note_of(self._source, fact)


@dataclass(frozen=True, slots=True)
class SourceGauges:
    """Where the gauges of one source are read."""

    status: Callable[[], SourceStatus]
    lags: Callable[[], Mapping[Partition, int]]
    behind_transactions: Callable[[], Mapping[Partition, int]]
    unread_seconds: Callable[[], Mapping[Partition, float]]
    hosts: Sequence[str]


class SourcesCollector(Collector):
    """Gives the gauges of all sources to Prometheus on each scrape."""

    def __init__(self, sources: Mapping[str, SourceGauges]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        statuses = {name: gauges.status() for name, gauges in self._sources.items()}
        by_name: dict[str, dict[str, float]] = {}
        for source, status in statuses.items():
            for name, value in _single(status).items():
                by_name.setdefault(name, {})[source] = value
        for name, values in by_name.items():
            family = _family(name, "source")
            for source, value in values.items():
                family.add_metric((source,), value)
            yield family
        yield from self._labelled(statuses)
        yield from self._by_partition(statuses)

    def _labelled(self, statuses: Mapping[str, SourceStatus]) -> Iterator[Metric]:
        waiting = _family("translate_waiting", "source", "reason")
        failing = _family("host_failing", "source", "host")
        for source, status in statuses.items():
            for reason in TRANSLATE_BY_NAME["translate_waiting"].labels["reason"]:
                waiting.add_metric((source, reason), float(reason == status.waits_for))
            for host in self._sources[source].hosts:
                failing.add_metric((source, host), float(host in status.failing_hosts))
        yield waiting
        yield failing

    def _by_partition(self, statuses: Mapping[str, SourceStatus]) -> Iterator[Metric]:
        lag = _partition_family("consumer_lag")
        behind = _partition_family("records_behind_open_transaction")
        progress = _partition_family("partition_last_progress_timestamp_seconds")
        for source, status in statuses.items():
            gauges = self._sources[source]
            open_records = gauges.behind_transactions()
            for (topic, number), count in gauges.lags().items():
                labels, held = (topic, str(number)), open_records.get(Partition(topic, number), 0)
                lag.add_metric(labels, count + held)
                behind.add_metric(labels, held)
            for one in status.partitions:
                labels = (one.partition.topic, str(one.partition.number))
                progress.add_metric(labels, one.progressed_utc_ms / 1000)
        yield from (lag, behind, progress)


def _single(status: SourceStatus) -> dict[str, float]:
    """Return the gauges that a source has once."""
    return {
        "translate_pending_records": status.pending_records,
        "translate_pending_items": status.pending_changes,
        "translate_pending_bytes": status.pending_bytes,
        "translate_withheld_items": status.withheld_changes,
        "translate_dead_letter_limit_reached": status.is_limit_reached,
        "translate_delete_ceiling_reached": bool(status.over_ceiling),
        "translate_quiet_seconds": status.silent_seconds,
        "translate_assigned_partitions": len(status.partitions),
        "translate_paused_partitions": sum(one.is_paused for one in status.partitions),
    }


def _family(name: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, TRANSLATE_BY_NAME[name].meaning, labels=labels)


def _partition_family(name: str) -> GaugeMetricFamily:
    meaning = BY_NAME[name].meaning
    return GaugeMetricFamily(PREFIX + name, meaning, labels=("topic", "partition"))
