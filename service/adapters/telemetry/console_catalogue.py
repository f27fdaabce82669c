"""All metrics of `asset-sync console`."""

from typing import get_args

from service.adapters.telemetry.catalogue import BY_NAME, Metric
from service.console.facts import PageEnd, WhyRebuilt
from service.console.query import Kind

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

CONSOLE_CATALOGUE = (
    Metric(
        "console_search_duration_seconds",
        "histogram",
        "seconds",
        "Time of a search, by what it searched for: an identifier, a whole code (exact), the "
        "beginning of a code (prefix), or none of these (browse).",
        {"kind": get_args(Kind)},
        buckets=_SECONDS,
    ),
    Metric(
        "console_searches_partial",
        "counter",
        "searches",
        "Searches that ended early because they had looked at too many outcomes.",
    ),
    Metric(
        "console_pages", "counter", "pages", "Answers by status.", {"answer": get_args(PageEnd)}
    ),
    Metric(
        "console_replicas_unreachable",
        "counter",
        "times",
        "Times that a replica did not say what it is working on.",
    ),
    Metric("console_indexed", "counter", "outcomes", "Outcomes that were added to the index."),
    Metric(
        "console_ignored",
        "counter",
        "records",
        "Records of the outcomes topic that are not outcomes of asset-sync.",
    ),
    Metric(
        "console_dropped",
        "counter",
        "outcomes",
        "Outcomes that were dropped from the index because of CONSOLE__MAX_BYTES or CONSOLE__DAYS.",
    ),
    Metric(
        "console_rebuilds",
        "counter",
        "times",
        "Times that the index was built from the beginning, by why.",
        {"why": get_args(WhyRebuilt)},
    ),
    Metric("console_index_outcomes", "gauge", "outcomes", "Outcomes in the index."),
    Metric("console_index_bytes", "gauge", "bytes", "Size of the files of the index."),
    Metric(
        "console_index_bytes_limit",
        "gauge",
        "bytes",
        "Size above which the oldest outcomes are dropped (CONSOLE__MAX_BYTES).",
    ),
    Metric(
        "console_lag",
        "gauge",
        "records",
        "Offsets of the outcomes topic that are not in the index yet; NaN while Kafka cannot be "
        "reached.",
    ),
    Metric("console_kafka_reachable", "gauge", "0 or 1", "1 while a broker answers."),
    BY_NAME["observer_errors"],
    BY_NAME["build"],
)

CONSOLE_BY_NAME = {metric.name: metric for metric in CONSOLE_CATALOGUE}
