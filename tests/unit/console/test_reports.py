"""What one process of the console says, the other one understands."""

import pytest

from service.console.facts import (
    IndexOpened,
    IndexRebuilt,
    OutcomesDropped,
    OutcomesIndexed,
    OutcomesMissed,
    PageAnswered,
)
from service.console.reports import (
    FACTS,
    Begin,
    Damaged,
    Ended,
    Noted,
    Order,
    Progress,
    Report,
    SegmentReport,
    Stop,
    decode_order,
    decode_report,
    encode,
)
from service.core.facts import Fact, KafkaReachable, KafkaUnreachable

NOTED: list[Fact] = [
    IndexOpened(5, 4096),
    IndexRebuilt("damaged", "why"),
    KafkaReachable("kafka-1:9092"),
    KafkaUnreachable("kafka-1:9092", "no answer"),
    OutcomesDropped(3, 4096),
    OutcomesIndexed(7, 2),
    OutcomesMissed(0, 12),
]
SEGMENTS = (SegmentReport(7, 5, 1, 2), SegmentReport(8, 0, None, None))


@pytest.mark.parametrize("order", [Begin(), Stop(), Damaged(7)])
def test_orders_are_understood(order: Order) -> None:
    assert decode_order(encode(order)) == order


@pytest.mark.parametrize(
    "report",
    [
        Ended("The index cannot be used."),
        Progress(is_open=True, segments=SEGMENTS, lag=3, problem="no answer", quiet_seconds=0.5),
        Progress(is_open=False, segments=(), lag=None, problem=None, quiet_seconds=0.0),
    ],
)
def test_reports_are_understood(report: Report) -> None:
    assert decode_report(encode(report)) == report


@pytest.mark.parametrize("fact", NOTED, ids=lambda fact: fact.name)
def test_facts_arrive_as_they_were_noted(fact: Fact) -> None:
    report = decode_report(encode(Noted.of(fact)))
    assert isinstance(report, Noted)
    assert report.fact == fact


def test_every_fact_that_may_be_noted_is_tried_here() -> None:
    assert {type(fact) for fact in NOTED} == set(FACTS.values())


def test_a_fact_of_the_pages_is_none_of_the_index() -> None:
    with pytest.raises(AssertionError, match=r"console\.answered"):
        Noted.of(PageAnswered("200"))
