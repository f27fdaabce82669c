"""The metrics of ingress are those of its catalogue; a flood of refusals is no flood of logs."""

from typing import get_args

import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from service.adapters.telemetry.ingress_catalogue import INGRESS_CATALOGUE
from service.adapters.telemetry.ingress_metrics import IngressGauges, IngressMeters
from service.adapters.telemetry.logs import REPEAT_SECONDS, LogObserver
from service.adapters.telemetry.metrics import process_registry
from service.core.facts import Fact, KafkaReachable, ObserverFailed
from service.webhooks.delivery import WhyRefused
from service.webhooks.facts import (
    KeyFetched,
    KeyNotFetched,
    ProducerReplaced,
    RecordNotWritten,
    RequestAnswered,
    RequestRefused,
    RequestTurnedAway,
    RequestUnjudged,
    SubscriptionNotConfirmed,
)
from tests.support.metrics import assert_catalogued

FACTS: list[Fact] = [
    RequestAnswered("bynder", "200", 0.004),
    RequestAnswered("bynder", "200", 30.0),
    RequestAnswered("", "404", 0.001),
    RequestRefused("bynder", "mismatch"),
    RequestUnjudged("bynder", "key"),
    RequestTurnedAway("bynder", "kafka"),
    KeyFetched("https://sns.example/a.pem"),
    KeyNotFetched("https://sns.example/b.pem", "The answer was 404."),
    ProducerReplaced("why"),
    ObserverFailed("LogObserver", "webhook.refused", "KeyError()", ""),
    KafkaReachable("kafka:9092"),
]
GAUGES = {metric.name: 1.0 for metric in INGRESS_CATALOGUE if metric.kind == "gauge"}


def scraped(*facts: Fact) -> str:
    """Return what Prometheus gets after these facts."""
    registry = process_registry()
    meters = IngressMeters(registry, "1.2.3", ["bynder"])
    registry.register(IngressGauges(lambda: GAUGES))
    for fact in facts:
        meters.note(fact)
    return generate_latest(registry).decode()


def test_the_catalogue_is_what_is_shown() -> None:
    """Every metric, with exactly its labels, and no value that a label does not have."""
    assert_catalogued(scraped(*FACTS), INGRESS_CATALOGUE)


def test_every_fact_is_counted() -> None:
    text = scraped(*FACTS)
    for line in (
        'ingress_requests_total{answer="200",source="bynder"} 2.0',
        'ingress_requests_total{answer="404",source=""} 1.0',
        'ingress_refused_total{source="bynder",why="mismatch"} 1.0',
        'ingress_unjudged_total{source="bynder",why="key"} 1.0',
        'ingress_turned_away_total{why="kafka"} 1.0',
        'ingress_keys_fetched_total{result="fetched"} 1.0',
        'ingress_keys_fetched_total{result="failed"} 1.0',
        "ingress_producers_replaced_total 1.0",
        "observer_errors_total 1.0",
        'ingress_request_duration_seconds_bucket{le="0.0025"} 0.0',
        'ingress_request_duration_seconds_bucket{le="0.005"} 1.0',
        'ingress_request_duration_seconds_bucket{le="+Inf"} 2.0',
        "ingress_request_duration_seconds_count 2.0",
        "ingress_request_duration_seconds_sum 30.004",
        "ingress_connections 1.0",
    ):
        assert f"asset_sync_{line}\n" in text, line


def test_what_can_come_begins_at_zero() -> None:
    """Prometheus sees no increase in a counter that appears with its first count."""
    text = scraped()
    for why in get_args(WhyRefused):
        assert f'ingress_refused_total{{source="bynder",why="{why}"}} 0.0' in text
    for answer in ("200", "401", "503"):
        assert f'ingress_requests_total{{answer="{answer}",source="bynder"}} 0.0' in text


@pytest.mark.parametrize(
    ("fact", "other", "level"),
    [
        (RequestRefused("a", "mismatch"), RequestRefused("a", "missing"), "warning"),
        (RequestUnjudged("a", "key"), RequestUnjudged("b", "key"), "error"),
        (RequestTurnedAway("a", "kafka"), RequestTurnedAway("a", "in_flight"), "warning"),
        (RecordNotWritten("t", "x"), RecordNotWritten("u", "x"), "error"),
        (SubscriptionNotConfirmed("a"), SubscriptionNotConfirmed("b"), "warning"),
    ],
    ids=lambda given: given.name if isinstance(given, Fact) else str(given),
)
def test_a_flood_is_logged_once_a_minute(
    fact: Fact, other: Fact, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each kind; another source or reason is another kind."""
    now = 0.0
    monkeypatch.setattr("service.adapters.telemetry.logs.time.monotonic", lambda: now)
    with capture_logs() as lines:
        observer = LogObserver()
        for _ in range(1_000):
            observer.note(fact)
        observer.note(other)
        now += REPEAT_SECONDS
        observer.note(fact)
    assert [line["event"] for line in lines] == [fact.name] * 3
    assert {line["log_level"] for line in lines} == {level}


def test_an_answer_is_logged_at_debug_alone() -> None:
    with capture_logs() as lines:
        LogObserver().note(FACTS[0])
    assert lines == []
