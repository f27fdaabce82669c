"""What `/metrics` shows: counted from the facts that the core notes, read from its state."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import (
    Counter,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from service.core.effects import Note

FILL_BUCKETS = (1, 2, 5, 10, 20, 50, 75, 99, 100)
"""Assets in a call."""

READINGS = {
    "unsettled_changes": "Changes admitted whose outcome is not yet committed.",
    "unsettled_bytes": "Key, value and headers of the unsettled changes, in bytes.",
    "calls_in_flight": "Calls to the PIM in flight.",
    "calls_at_once_limit": "This replica's share of the calls at once.",
    "breaker_open": "1 while the PIM is held for down and nothing but probes is sent.",
    "gate_closed": "1 while the PIM throttles and nothing is sent.",
    "paused_partitions": "Partitions whose intake is paused.",
    "assigned_partitions": "Partitions of the events topics that this replica owns.",
}
"""Gauges, read from the core when somebody asks."""

Readings = Callable[[], Mapping[str, float]]


def process_registry() -> CollectorRegistry:
    """A registry of our own, with what Python and the operating system tell of the process."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


class Meters:
    """An `Observer` that counts; one registry a process."""

    def __init__(self, registry: CollectorRegistry, version: str, readings: Readings) -> None:
        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"asset_sync_{name}", meaning, labels, registry=registry)

        self._outcomes = counter("outcomes", "Changes that ended.", "status", "reason")
        self._windows = counter("windows", "Windows cut into calls, by what made them due.", "by")
        self._fill = Histogram(
            "asset_sync_call_assets",
            "Assets in a call that was cut from a window.",
            buckets=FILL_BUCKETS,
            registry=registry,
        )
        self._suspected = counter("calls_suspected", "Calls without a judgement of the PIM's.")
        self._throttled = counter("throttled", "Times that the PIM closed the gate (429).")
        self._breaker = counter("breaker_opened", "Times that the PIM was held for down.")
        self._lost = counter("settlements_refused", "Transactions that the group refused.")
        Info("asset_sync_build", "What runs here.", registry=registry).info({"version": version})
        registry.register(_Gauges(readings))

    def note(self, fact: Note) -> None:
        """Count it."""
        match fact.name:
            case "change.settled":
                status, reason = fact.fields["status"], fact.fields["reason"] or ""
                self._outcomes.labels(status, reason).inc()
            case "window.closed":
                self._windows.labels(fact.fields["by"]).inc()
                assets = fact.fields["assets"]
                assert isinstance(assets, int)
                self._fill.observe(assets)
            case "call.suspected":
                self._suspected.inc()
            case "gate.closed":
                self._throttled.inc()
            case "breaker.opened":
                self._breaker.inc()
            case "settlement.cut":
                self._lost.inc()
            case _:
                pass


class _Gauges(Collector):
    """Reads the core's state when somebody scrapes: nothing is kept twice."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        found = self._readings()
        for name, meaning in READINGS.items():
            yield GaugeMetricFamily(f"asset_sync_{name}", meaning, value=found[name])
