"""A histogram of the ages of records, which come by the thousand in each transaction."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate

from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from service.adapters.telemetry.catalogue import PREFIX
from service.adapters.telemetry.catalogue import Metric as Described


class Ages(Collector):
    """A histogram that takes many ages at once; the library's takes a lock for each value."""

    def __init__(self, metric: Described) -> None:
        self._metric = metric
        self._bounds_ms = [bound * 1000 for bound in metric.buckets]
        self._series: dict[tuple[str, ...], AgeSeries] = {}

    def of(self, *labels: str) -> "AgeSeries":
        """Return the series with these values of the metric's labels; it is shown from now on."""
        if labels not in self._series:
            self._series[labels] = AgeSeries(self._bounds_ms)
        return self._series[labels]

    def collect(self) -> Iterator[Metric]:
        names = tuple(self._metric.labels)
        name, meaning = PREFIX + self._metric.name, self._metric.meaning
        family = HistogramMetricFamily(name, meaning, labels=names)
        for values, series in self._series.items():
            family.add_metric(values, series.buckets(), series.sum_ms / 1000)
        yield family


class AgeSeries:
    """The ages that were added so far, by bucket."""

    def __init__(self, bounds_ms: Sequence[float]) -> None:
        self._bounds_ms = bounds_ms
        self._counts = [0] * (len(bounds_ms) + 1)
        self.sum_ms = 0.0

    def add(self, ages_ms: Sequence[float]) -> None:
        """Add these ages in milliseconds; one below 0 (a clock ahead of this one) counts as 0."""
        buckets = Counter(map(partial(bisect_left, self._bounds_ms), ages_ms))
        for bucket, count in buckets.items():
            self._counts[bucket] += count
        self.sum_ms += sum(map(partial(max, 0.0), ages_ms))

    def buckets(self) -> list[tuple[str, float]]:
        """Return for each upper bound in seconds how many ages are not above it."""
        bounds = [*(str(bound / 1000) for bound in self._bounds_ms), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self._counts)), strict=True))
