"""The metrics: counters count the facts, gauges are read from the state of the core."""

import platform
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache

from prometheus_client import (
    Counter,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from service.adapters.telemetry.age_histogram import Ages
from service.adapters.telemetry.catalogue import BY_NAME, PREFIX
from service.adapters.telemetry.catalogue import Metric as Described
from service.adapters.telemetry.media_meters import MediaMeters
from service.adapters.telemetry.record_age import flaw_of_time
from service.core.facts import (
    BreakerOpened,
    CallFailed,
    CallRetried,
    CredentialsRefused,
    DeadLettersTruncated,
    Fact,
    FileDownloadEnded,
    FileRemembered,
    FileUploadEnded,
    ObserverFailed,
    OffsetMapUnused,
    OptionCreated,
    OptionRefused,
    PimThrottled,
    PositionLost,
    RequestEnded,
    StructureRead,
    StructureUnreadable,
    TransactionCommitted,
    TransactionRefused,
    WindowClosed,
)
from service.core.model import Partition
from service.core.records import CompletedChange
from service.core.status import FamilyStatus, PipelineStatus

FAILING_FAMILIES_MAX = 20
"""Most time series of failing families at once; families are named to the label by the DAM."""


class Gauges:
    """Reads the gauges from the state of the core on each scrape, so that none can be stale."""

    def __init__(
        self,
        status: Callable[[], PipelineStatus],
        lags: Callable[[], Mapping[Partition, int]],
        limits: Mapping[str, float],
        behind_transactions: Callable[[], Mapping[Partition, int]] = dict,
        families: Callable[[], Iterable[FamilyStatus]] = tuple,
    ) -> None:
        self.status = status
        self._lags = lags
        self._limits = limits
        self._behind_transactions = behind_transactions
        self._families = families

    def single(self, status: PipelineStatus) -> dict[str, float]:
        """Return the gauges of the replica."""
        return {
            **self._limits,
            "pending_changes": status.pending_changes,
            "pending_bytes": status.pending_bytes,
            "withheld_changes": status.withheld_changes,
            "dead_letter_limit_reached": status.is_limit_reached,
            "held_changes": status.held_changes,
            "delete_ceiling_reached": bool(status.over_ceiling),
            "quiet_seconds": status.silent_seconds,
            "oldest_open_change_seconds": max(
                (one.oldest_seconds for one in status.partitions), default=0.0
            ),
            "due_window_wait_seconds": status.window_wait_seconds,
            "calls_in_flight": status.calls_in_flight,
            "calls_at_once_limit": status.calls_limit,
            "calls_per_second_limit": status.rate_limit,
            "calls_waiting_for_retry": status.calls_in_repair,
            "throttling": status.is_gate_closed,
            "throttling_wait_seconds": status.gate_seconds,
            "breaker_open": status.outage is not None,
            "failing_lanes": status.failing_lanes,
            "assets_waiting_for_files": status.assets_waiting_for_files,
            "media_downloads_in_flight": status.downloads_in_flight,
            "media_disk_bytes": status.files_disk_bytes,
            "assigned_partitions": len(status.partitions),
            "paused_partitions": sum(one.is_paused for one in status.partitions),
        }

    def by_partition(self, status: PipelineStatus) -> dict[str, dict[Partition, float]]:
        """Return the gauges of each assigned partition."""
        partitions = status.partitions
        lags, behind = self._lags(), self._behind_transactions()
        return {
            "consumer_lag": {one: lag + behind.get(one, 0) for one, lag in lags.items()},
            "records_behind_open_transaction": {one: behind.get(one, 0) for one in lags},
            "partition_pending_changes": {one.partition: one.pending for one in partitions},
            "partition_span": {one.partition: one.span for one in partitions},
            "partition_last_progress_timestamp_seconds": {
                one.partition: one.progressed_utc_ms / 1000 for one in partitions
            },
        }

    def failing_families(self) -> Iterator[tuple[tuple[str, str, str], float]]:
        """Yield family, action and reason of what fails, and since when (seconds since 1970)."""
        failing = [
            ((one.family, of.action, of.reason), round(time.time() - of.seconds, 3))
            for one in self._families()
            for of in one.failures
        ]
        yield from failing[:FAILING_FAMILIES_MAX]

    def waiting(self, status: PipelineStatus) -> dict[str, float]:
        """Return 1 for the reason why nothing is sent, and 0 for the other reasons."""
        return {
            reason: reason == status.waits_for for reason in BY_NAME["waiting"].labels["reason"]
        }


def process_registry() -> CollectorRegistry:
    """Return a new registry with the metrics of Python and the process."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the series of each counter
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


class Meters:
    """An `Observer` that counts the facts in a registry of Prometheus."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self._registry = registry
        self._outcomes = self._counter("outcomes")
        event_ages = Ages(BY_NAME["event_age_seconds"])
        self._times_unusable = self._counter("event_times_unusable")
        registry.register(event_ages)
        self._event_age = event_ages.of()
        self._transactions = self._counter("transactions")
        self._transaction_duration = self._histogram("transaction_duration_seconds")
        self._transaction_outcomes = self._histogram("transaction_outcomes")
        # These change with each call, and looking a series up costs more than counting in it.
        self._windows = cache(self._counter("windows").labels)
        self._call_assets = cache(self._histogram("call_assets").labels)
        self._requests = cache(self._histogram("pim_request_duration_seconds").labels)
        self._structures = cache(self._counter("structures").labels)
        self._window_wait = self._histogram("window_wait_seconds")
        self._retried = self._counter("calls_retried")
        self._failed = self._counter("calls_failed")
        self._options = self._counter("options")
        self._media = MediaMeters(self._counter, self._histogram)
        self._times = {
            PimThrottled: self._counter("throttled"),
            BreakerOpened: self._counter("breaker_opened"),
            CredentialsRefused: self._counter("credentials_refused"),
            PositionLost: self._counter("positions_lost"),
            ObserverFailed: self._counter("observer_errors"),
            OffsetMapUnused: self._counter("offset_maps_unused"),
            DeadLettersTruncated: self._counter("dead_letters_truncated"),
        }
        show_build(registry, version)

    def note(self, fact: Fact) -> None:
        match fact:
            case TransactionCommitted():
                self._count_completed(fact.completed, fact.seconds)
            case TransactionRefused(why):
                self._transactions.labels(why).inc()
            case WindowClosed():
                self._windows(fact.by, fact.action).inc()
                self._call_assets(fact.action).observe(fact.assets)
                self._window_wait.observe(fact.waited_seconds)
            case RequestEnded():
                self._requests(fact.route, fact.ended).observe(fact.seconds)
            case CallRetried():
                self._retried.labels(fact.cause).inc()
            case CallFailed():
                self._failed.labels(fact.reason).inc()
            case StructureRead():
                self._structures("read").inc()
            case StructureUnreadable():
                self._structures("unreadable").inc()
            case OptionCreated():
                self._options.labels("created").inc()
            case OptionRefused():
                self._options.labels("refused").inc()
            case FileDownloadEnded() | FileUploadEnded() | FileRemembered():
                self._media.note(fact)
            case _:
                self._count_times(fact)

    def _count_times(self, fact: Fact) -> None:
        if (counter := self._times.get(type(fact))) is not None:
            counter.inc()

    def _count_completed(self, completed: tuple[CompletedChange, ...], seconds: float) -> None:
        self._transactions.labels("committed").inc()
        self._transaction_duration.observe(seconds)
        self._transaction_outcomes.observe(len(completed))
        ends = Counts([(one.status, one.reason or "") for one in completed])
        for (status, reason), count in ends.items():
            self._outcomes.labels(status, reason).inc(count)
        now_ms = time.time() * 1000
        flaws = Counts[str]()
        ages = []
        for one in completed:
            written, received = one.record_timestamp_ms, one.received_utc_ms
            if (flaw := flaw_of_time(written, received)) is None:
                ages.append(now_ms - written)
            else:
                ages.append(now_ms - received)
                flaws[flaw] += 1
        self._event_age.add(ages)
        for why, count in flaws.items():
            self._times_unusable.labels(why).inc(count)

    def _counter(self, name: str) -> Counter:
        counter = counter_of(BY_NAME[name], self._registry)
        # Prometheus sees an increase only between two values, so the first needs a 0 before it.
        for values in BY_NAME[name].combinations if BY_NAME[name].labels else ():
            counter.labels(*values)
        return counter

    def _histogram(self, name: str) -> Histogram:
        return histogram_of(BY_NAME[name], self._registry)


def counter_of(metric: Described, registry: CollectorRegistry) -> Counter:
    """Return the counter that the catalogue describes."""
    assert metric.kind == "counter"
    return Counter(PREFIX + metric.name, metric.meaning, tuple(metric.labels), registry=registry)


def histogram_of(metric: Described, registry: CollectorRegistry) -> Histogram:
    """Return the histogram that the catalogue describes."""
    assert metric.kind == "histogram"
    return Histogram(
        PREFIX + metric.name,
        metric.meaning,
        tuple(metric.labels),
        buckets=metric.buckets,
        registry=registry,
    )


def show_build(registry: CollectorRegistry, version: str) -> None:
    """Show the versions of asset-sync and Python."""
    build = Info(PREFIX + "build", BY_NAME["build"].meaning, registry=registry)
    build.info({"version": version, "python": platform.python_version()})


class GaugeCollector(Collector):
    """Gives the gauges to Prometheus on each scrape."""

    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        status = self._gauges.status()
        for name, value in self._gauges.single(status).items():
            yield GaugeMetricFamily(PREFIX + name, BY_NAME[name].meaning, value=float(value))
        for name, values in self._gauges.by_partition(status).items():
            family = GaugeMetricFamily(
                PREFIX + name, BY_NAME[name].meaning, labels=("topic", "partition")
            )
            for (topic, number), value in values.items():
                family.add_metric((topic, str(number)), value)
            yield family
        waiting = GaugeMetricFamily(
            PREFIX + "waiting", BY_NAME["waiting"].meaning, labels=("reason",)
        )
        for reason, value in self._gauges.waiting(status).items():
            waiting.add_metric((reason,), value)
        yield waiting
        name = "family_failing_since_timestamp_seconds"
        failing = GaugeMetricFamily(
            PREFIX + name, BY_NAME[name].meaning, labels=tuple(BY_NAME[name].labels)
        )
        for labels, since in self._gauges.failing_families():
            failing.add_metric(labels, since)
        yield failing
