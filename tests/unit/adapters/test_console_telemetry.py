"""The metrics of the console are those of its catalogue; a flood of facts is no flood of logs."""

from typing import get_args

from prometheus_client import generate_latest
from structlog.testing import capture_logs

from service.adapters.telemetry.console_catalogue import CONSOLE_CATALOGUE
from service.adapters.telemetry.console_metrics import ConsoleGauges, ConsoleMeters
from service.adapters.telemetry.logs import LogObserver
from service.adapters.telemetry.metrics import process_registry
from service.console.facts import (
    IndexOpened,
    IndexRebuilt,
    OutcomesDropped,
    OutcomesIndexed,
    OutcomesMissed,
    PageAnswered,
    ReplicaUnreachable,
    SearchEnded,
    WhyRebuilt,
)
from service.core.facts import Fact, ObserverFailed
from tests.support.metrics import assert_catalogued

FACTS: list[Fact] = [
    IndexOpened(5, 4096),
    IndexRebuilt("damaged"),
    OutcomesIndexed(7, 2),
    OutcomesDropped(3, 4096),
    OutcomesMissed(0, 12),
    SearchEnded("exact", 0.02, is_partial=False),
    SearchEnded("prefix", 0.3, is_partial=True),
    PageAnswered("200"),
    PageAnswered("403"),
    ReplicaUnreachable("10.0.0.7:8080", "no answer"),
    ObserverFailed("LogObserver", "index.written", "KeyError()", ""),
]
GAUGES = {metric.name: 1.0 for metric in CONSOLE_CATALOGUE if metric.kind == "gauge"}


def scraped(*facts: Fact) -> str:
    """Return what Prometheus gets after these facts."""
    registry = process_registry()
    meters = ConsoleMeters(registry, "1.2.3")
    registry.register(ConsoleGauges(lambda: GAUGES))
    for fact in facts:
        meters.note(fact)
    return generate_latest(registry).decode()


def test_the_catalogue_is_what_is_shown() -> None:
    """Every metric, with exactly its labels, and no value that a label does not have."""
    assert_catalogued(scraped(*FACTS), CONSOLE_CATALOGUE)


def test_every_fact_is_counted() -> None:
    text = scraped(*FACTS)
    for line in (
        "console_indexed_total 7.0",
        "console_ignored_total 2.0",
        "console_dropped_total 3.0",
        'console_rebuilds_total{why="damaged"} 1.0',
        'console_search_duration_seconds_bucket{kind="exact",le="0.025"} 1.0',
        'console_search_duration_seconds_count{kind="prefix"} 1.0',
        "console_searches_partial_total 1.0",
        'console_pages_total{answer="403"} 1.0',
        "console_replicas_unreachable_total 1.0",
        "observer_errors_total 1.0",
        "console_lag 1.0",
    ):
        assert f"asset_sync_{line}\n" in text, line


def test_what_can_come_begins_at_zero() -> None:
    text = scraped()
    for why in get_args(WhyRebuilt):
        assert f'console_rebuilds_total{{why="{why}"}} 0.0' in text
    assert 'console_search_duration_seconds_count{kind="browse"} 0.0' in text


def test_what_a_person_should_see_is_logged() -> None:
    """Pages and batches come in floods, so they are logged at debug alone."""
    with capture_logs() as lines:
        observer = LogObserver()
        for fact in (*FACTS, *FACTS):
            observer.note(fact)
    counted = {line["event"]: line["log_level"] for line in lines}
    assert counted == {
        "index.opened": "info",
        "index.rebuilt": "warning",
        "index.dropped": "info",
        "index.missed": "warning",
        "console.replica_unreachable": "warning",
        "observer.failed": "error",
    }
    assert [line["event"] for line in lines].count("console.replica_unreachable") == 1
