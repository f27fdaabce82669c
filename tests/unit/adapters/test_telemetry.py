"""What people and meters see: metrics, health, the board, logs."""

import dataclasses
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from service.adapters.telemetry.board import OUTCOMES_KEPT, Board
from service.adapters.telemetry.catalogue import CATALOGUE, as_markdown
from service.adapters.telemetry.health import (
    REASONS,
    is_reading,
    is_working,
    partition_lines,
    waiting_lines,
)
from service.adapters.telemetry.logs import LogObserver, configure
from service.adapters.telemetry.metrics import Meters, Readings, process_registry
from service.adapters.telemetry.view import About, View
from service.core.effects import FactName, Note, Settled
from service.core.model import Partition
from service.core.status import FamilyStatus, PartitionStatus, Status, WaitsFor
from tests.contract.test_schemas import outcome

ROOT = Path(__file__).resolve().parent.parent.parent.parent
PLACE = Partition("events", 0)


def partition(**members: Any) -> PartitionStatus:  # noqa: ANN401 - any member
    """A partition that is idle."""
    now_ms = round(time.time() * 1000)
    return dataclasses.replace(PartitionStatus(PLACE, 10, 0, 0, False, now_ms), **members)  # noqa: FBT003


def status(**members: Any) -> Status:  # noqa: ANN401 - any member
    """A replica that is well and idle."""
    idle = Status(
        waits_for=None,
        held_changes=0,
        held_bytes=0,
        withheld_changes=0,
        is_limit_reached=False,
        dead_of_last=0,
        calls_in_flight=0,
        calls_limit=4,
        rate_limit=50,
        gate_seconds=0.0,
        is_gate_closed=False,
        is_breaker_open=False,
        sick_lanes=0,
        calls_in_repair=0,
        window_wait_seconds=0.0,
        silent_seconds=0.0,
        partitions=(partition(),),
    )
    return dataclasses.replace(idle, **members)


def settled(born_utc_ms: int = -1) -> Settled:
    """A change that was rejected."""
    return Settled(
        PLACE,
        7,
        outcome(),
        outcome(),
        100,
        status="rejected",
        reason="too_large",
        family="packshots",
        born_utc_ms=born_utc_ms,
    )


FACTS: dict[FactName, dict[str, object]] = {
    "settlement.committed": {"outcomes": 1, "seconds": 0.2},
    "settlement.refused": {"why": "fenced"},
    "window.closed": {
        "family": "f", "verb": "upsert", "assets": 7, "by": "time", "waited_seconds": 0.1,
    },
    "request.ended": {
        "route": "upsert", "method": "PATCH", "path": "/x", "ended": "2xx", "seconds": 0.3,
    },
    "call.put_off": {"family": "f", "verb": "upsert", "cause": "throttled"},
    "call.suspected": {"family": "f", "reason": "timeout", "message": "m"},
    "option.created": {"family": "f"},
    "structure.unreadable": {"family": "f"},
    "gate.closed": {"seconds": 1.0},
    "breaker.opened": {"message": "m"},
    "credentials.refused": {"call": 0, "message": "m"},
    "position.lost": {"message": "m"},
    "gate.opened": {},
}  # fmt: skip


def scraped(now: Status, lags: Mapping[Partition, int] | None = None) -> str:
    """`/metrics` after one of each fact."""
    registry = process_registry()
    limits = {"unsettled_changes_limit": 10_000.0, "unsettled_bytes_limit": 1e8}
    meters = Meters(registry, "1.2.3", Readings(lambda: now, lambda: lags or {}, limits))
    born_ms = round(time.time() * 1000) - 700
    for name, fields in FACTS.items():
        meters.note(Note(name, fields, (settled(born_ms),) if "committed" in name else ()))
    return generate_latest(registry).decode()


def test_metrics_count_facts_and_read_the_state() -> None:
    """In Prometheus's text."""
    text = scraped(status(held_changes=42, waits_for="pim"), {PLACE: 5})

    assert 'asset_sync_outcomes_total{reason="too_large",status="rejected"} 1.0' in text
    assert 'asset_sync_windows_total{by="time",verb="upsert"} 1.0' in text
    assert 'asset_sync_event_age_seconds_bucket{le="0.5"} 0.0' in text
    assert 'asset_sync_event_age_seconds_bucket{le="1.0"} 1.0' in text
    assert 'ended="2xx",le="0.5",route="upsert"} 1.0' in text
    assert "asset_sync_unsettled_changes 42.0" in text
    assert 'asset_sync_waiting{reason="pim"} 1.0' in text
    assert 'asset_sync_waiting{reason="drain"} 0.0' in text
    assert 'asset_sync_consumer_lag{partition="0",topic="events"} 5.0' in text
    assert re.search(r"^process_resident_memory_bytes \d", text, re.MULTILINE)


def test_the_catalogue_is_what_is_shown() -> None:
    """Every metric, with its labels and no other value of them; and nothing else of ours."""
    families = {
        family.name: family
        for family in text_string_to_metric_families(scraped(status(), {PLACE: 0}))
        if family.name.startswith("asset_sync_")
    }
    known = {metric.full_name.removesuffix("_total"): metric for metric in CATALOGUE}
    assert families.keys() == known.keys()
    for name, family in families.items():
        metric = known[name]
        assert family.documentation == metric.meaning
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if k != "le"}
            if not sample.name.endswith("_created"):
                assert labels.keys() == metric.labels.keys(), sample
            for label, value in labels.items():
                allowed = metric.labels[label]
                assert not allowed or value in allowed, sample


def test_the_page_of_metrics_is_the_catalogue() -> None:
    """`make schemas` writes it anew."""
    assert (ROOT / "docs" / "metrics.md").read_text() == as_markdown()


@pytest.mark.parametrize("reason", REASONS)
def test_waiting_on_purpose_is_progress(reason: WaitsFor) -> None:
    """However long it takes, and it says why."""
    waiting = status(held_changes=9, silent_seconds=1e6, waits_for=reason)
    assert is_working(waiting, 60)
    assert list(waiting_lines(waiting)) == [f"[ ]waiting: {REASONS[reason]}"]


def test_held_work_on_which_nothing_happens_is_stuck() -> None:
    """While nothing is in its way."""
    assert is_working(status(held_changes=9, silent_seconds=59), 60)
    assert not is_working(status(held_changes=9, silent_seconds=61), 60)
    assert is_working(status(held_changes=0, silent_seconds=1e6), 60), "idle"


def test_a_partition_that_has_records_and_yields_none_is_stuck() -> None:
    """Idle, paused on purpose, working and stuck are told apart."""
    long_ago = round(time.time() * 1000) - 301_000
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({}, 0, "idle"),
        ({"held": 3}, 0, "working"),
        ({}, 5, "working"),
        ({"is_paused": True, "progressed_utc_ms": long_ago}, 5, "paused on purpose"),
        ({"progressed_utc_ms": long_ago}, 0, "idle"),
        ({"progressed_utc_ms": long_ago}, 5, "stuck"),
    ]
    for members, lag, word in cases:
        now = status(partitions=(partition(**members),))
        (line,) = partition_lines(now, {PLACE: lag})
        assert line.startswith(f"[ ]events/0 {word}: {lag} to read"), line
        assert is_reading(now, {PLACE: lag}) is (word != "stuck")


def test_a_partition_is_not_stuck_while_kafka_is_away() -> None:
    """`/livez` does not look at Kafka."""
    long_ago = partition(progressed_utc_ms=0)
    assert is_reading(status(partitions=(long_ago,), waits_for="lease"), {PLACE: 5})


def test_the_view_shows_one_state_everywhere() -> None:
    """Probes, lines and page."""
    now = status(held_changes=3, waits_for="release", is_limit_reached=True, withheld_changes=2)
    about = About("1.2.3", "group", {"unsettled_changes_limit": 10.0}, 60.0)
    view = View(about, lambda: now, lambda: [FamilyStatus("f", 1, 2, 3, True)], lambda: {PLACE: 4})  # noqa: FBT003
    view.board.note(Note("settlement.committed", FACTS["settlement.committed"], (settled(),)))

    assert view.live() == {"progress": True, "partitions": True}
    assert "asset-sync release" in view.ready_lines()[0]
    assert view.ready_lines()[1] == "[ ]dead letters held back: 2"
    assert view.live_lines()[2].startswith("[ ]events/0")
    page = json.loads(json.dumps(view.page()))
    assert page["waiting"] == REASONS["release"]
    assert page["families"][0]["is_sick"] is True
    assert page["partitions"][0]["lag"] == 4
    assert page["outcomes"] == {"rejected": 1}
    assert page["bad"][0]["asset"] == "packshots/a"


def test_the_board_keeps_the_last_outcomes() -> None:
    """However many there are."""
    board = Board()
    for _ in range(3):
        board.note(Note("settlement.committed", {}, (settled(),) * OUTCOMES_KEPT))
    shown = board.show()
    assert len(shown["last"]) == len(shown["bad"]) == OUTCOMES_KEPT
    assert shown["outcomes"]["rejected"] == 3 * OUTCOMES_KEPT


def test_logs_say_facts_at_their_levels() -> None:
    """Windows and calls at debug; a refusal's message, which may quote a value, too."""
    configure("json", "debug")
    refusal = {"outcome": "t/0/1", "status": "rejected", "reason": "refused_by_pim", "message": "x"}
    for level in ("info", "debug"):
        observer = LogObserver(level)
        with capture_logs() as said:
            for name, fields in FACTS.items():
                observer.note(Note(name, fields, (settled(),)))
            observer.note(Note("change.settled", refusal))
        names = [line["event"] for line in said]
        assert ("window.closed" in names) is (level == "debug")
        assert ("request.ended" in names) is (level == "debug")
        assert ("message" in said[-1]) is (level == "debug")
        assert said[-1]["log_level"] == "warning"
        assert "position.lost" in names
    structlog.reset_defaults()
