"""Metrics, health, the status report and logs."""

import dataclasses
import json
import re
import time
from collections.abc import Mapping
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import pytest
import structlog
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from service.adapters.http.admin_server import STATUS_PAGE
from service.adapters.telemetry.catalogue import CATALOGUE
from service.adapters.telemetry.health import (
    is_reading,
    is_working,
    partition_lines,
    waiting_lines,
    why_waiting,
)
from service.adapters.telemetry.logs import LogObserver, configure
from service.adapters.telemetry.metrics import GaugeCollector, Gauges, Meters, process_registry
from service.adapters.telemetry.metrics_page import as_markdown
from service.adapters.telemetry.recent_outcomes import OUTCOMES_KEPT, RecentOutcomes
from service.adapters.telemetry.status_report import ReplicaInfo, StatusReport
from service.contracts.outcome import DELETE, Reason
from service.contracts.reasons import REASONS_OF, REASONS_OF_TRANSLATION
from service.core.facts import (
    BreakerOpened,
    CallFailed,
    CallRetried,
    ChangeCompleted,
    CredentialsRefused,
    DeadLettersTruncated,
    Fact,
    FamilyFailing,
    FileDownloadEnded,
    FileRemembered,
    FileUploadEnded,
    ObserverFailed,
    OffsetMapUnused,
    OptionCreated,
    PartitionsUnreadable,
    PimThrottled,
    PimThrottlingEnded,
    PositionLost,
    RequestEnded,
    StructureUnreadable,
    TransactionCommitted,
    TransactionRefused,
    WindowClosed,
)
from service.core.model import Partition
from service.core.records import CompletedChange
from service.core.status import (
    FailureStatus,
    FamilyStatus,
    OutageStatus,
    PartitionStatus,
    PipelineStatus,
    WaitsFor,
)
from service.ports import Observers
from tests.contract.test_schemas import outcome
from tests.support.metrics import assert_catalogued

ROOT = Path(__file__).resolve().parent.parent.parent.parent
PLACE = Partition("events", 0)
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
"""A time in ISO 8601."""


def seconds_since(shown: str) -> float:
    """Return how long ago a time in ISO 8601 was."""
    return time.time() - datetime.fromisoformat(shown).timestamp()


def partition(**members: Any) -> PartitionStatus:  # noqa: ANN401 - any member
    """Return the status of an idle partition."""
    now_ms = round(time.time() * 1000)
    return dataclasses.replace(PartitionStatus(PLACE, 10, 10, 0, 0, False, now_ms), **members)  # noqa: FBT003


def status(**members: Any) -> PipelineStatus:  # noqa: ANN401 - any member
    """Return the status of an idle replica without failures."""
    idle = PipelineStatus(
        waits_for=None,
        pending_changes=0,
        pending_bytes=0,
        withheld_changes=0,
        is_limit_reached=False,
        dead_of_last=0,
        last_changes=0,
        calls_in_flight=0,
        calls_limit=4,
        rate_limit=50,
        gate_seconds=0.0,
        is_gate_closed=False,
        outage=None,
        failing_lanes=0,
        calls_in_repair=0,
        window_wait_seconds=0.0,
        silent_seconds=0.0,
        partitions=(partition(),),
    )
    return dataclasses.replace(idle, **members)


def completed(record_timestamp_ms: int = -1, received_utc_ms: int = -1) -> CompletedChange:
    """Return a change that was rejected."""
    return CompletedChange(
        PLACE,
        7,
        outcome(),
        outcome(),
        100,
        status="rejected",
        reason="too_large",
        family="packshots",
        record_timestamp_ms=record_timestamp_ms,
        received_utc_ms=received_utc_ms,
    )


def facts(committed: CompletedChange) -> list[Fact]:
    """Return one fact of each kind."""
    return [
        TransactionCommitted(1, 0.2, (committed,)),
        TransactionRefused("fenced"),
        WindowClosed("f", "upsert", "time", 0.1, 7),
        RequestEnded("upsert", "PATCH", "/x", "2xx", 0.3),
        CallRetried("f", "upsert", "throttled"),
        CallFailed("f", "upsert", 1, None, "timeout", "m"),
        OptionCreated("f", "color", "red"),
        StructureUnreadable("f"),
        PimThrottled(1.0),
        BreakerOpened(("f",), "timeout", None, "m", 0.5),
        CredentialsRefused(0, "m"),
        PartitionsUnreadable("m"),
        PositionLost("m"),
        OffsetMapUnused("m"),
        DeadLettersTruncated(2, 0),
        FileDownloadEnded("https://dam/a", "downloaded", 0.2, 700, None),
        FileDownloadEnded("https://dam/a", "failed", 0.2, 300, "HTTP 500"),
        FileUploadEnded("uploaded", 0.2, 700),
        FileUploadEnded("refused", 0.2, 700),
        FileRemembered("etag"),
        PimThrottlingEnded(),
        FamilyFailing("f", "upsert", "forbidden", 403, "m"),
        ObserverFailed("RecentOutcomes", "x", "KeyError('x')", "t"),
    ]


def scraped(now: PipelineStatus, lags: Mapping[Partition, int] | None = None) -> str:
    """Return `/metrics` after one fact of each kind."""
    registry = process_registry()
    limits = dict.fromkeys(
        ("pending_changes_limit", "pending_bytes_limit", "media_disk_bytes_limit"), 1e8
    )
    meters = Meters(registry, "1.2.3")
    registry.register(GaugeCollector(Gauges(lambda: now, lambda: lags or {}, limits)))
    born_ms = round(time.time() * 1000) - 700
    for fact in facts(completed(born_ms, received_utc_ms=born_ms + 100)):
        meters.note(fact)
    return generate_latest(registry).decode()


def test_metrics_count_facts_and_read_the_state() -> None:
    text = scraped(status(pending_changes=42, waits_for="pim"), {PLACE: 5})

    assert 'asset_sync_outcomes_total{reason="too_large",status="rejected"} 1.0' in text
    assert 'asset_sync_windows_total{action="upsert",by="time"} 1.0' in text
    assert 'asset_sync_event_age_seconds_bucket{le="0.5"} 0.0' in text
    assert 'asset_sync_event_age_seconds_bucket{le="1.0"} 1.0' in text
    assert 'ended="2xx",le="0.5",route="upsert"} 1.0' in text
    assert "asset_sync_pending_changes 42.0" in text
    assert 'asset_sync_waiting{reason="pim"} 1.0' in text
    assert 'asset_sync_waiting{reason="drain"} 0.0' in text
    assert 'asset_sync_consumer_lag{partition="0",topic="events"} 5.0' in text
    assert "asset_sync_dead_letters_truncated_total 1.0" in text
    assert 'asset_sync_media_downloads_total{end="failed"} 1.0' in text
    assert 'asset_sync_media_uploads_total{end="uploaded"} 1.0' in text
    assert 'asset_sync_media_bytes_total{direction="downloaded"} 700.0' in text
    assert 'asset_sync_media_bytes_total{direction="uploaded"} 700.0' in text
    assert 'asset_sync_media_remembered_total{by="etag"} 1.0' in text
    assert re.search(r"^process_resident_memory_bytes \d", text, re.MULTILINE)


def test_the_catalogue_is_what_is_shown() -> None:
    """Prometheus gets every metric of the catalogue with exactly its labels, and no other."""
    assert_catalogued(scraped(status(), {PLACE: 0}), CATALOGUE)


def test_every_count_that_can_come_begins_at_zero() -> None:
    """Prometheus sees no increase in a counter that appears with its first count."""
    registry = process_registry()
    Meters(registry, "1.2.3")
    registry.register(GaugeCollector(Gauges(status, dict, {})))
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in registry.collect()
        for sample in family.samples
    }
    for metric in (metric for metric in CATALOGUE if metric.kind == "counter"):
        for values in metric.combinations:
            labels = tuple(sorted(zip(metric.labels, values, strict=True)))
            assert samples[(metric.full_name, labels)] == 0, (metric.name, values)
    for metric in (one for one in CATALOGUE if one.kind == "histogram" and not one.labels):
        assert samples[(f"{metric.full_name}_count", ())] == 0, metric.name
    outcomes = {
        (dict(labels)["status"], dict(labels)["reason"])
        for name, labels in samples
        if name == "asset_sync_outcomes_total"
    }
    assert {("rejected", "invalid_event"), ("failed", "timeout"), ("applied", "")} <= outcomes
    reasons = {"", *chain(*REASONS_OF.values())}
    assert {reason for _, reason in outcomes} == reasons, "every reason can come"
    elsewhere = chain(*REASONS_OF_TRANSLATION.values())
    assert reasons.union(elsewhere) == {"", *get_args(Reason)}, "each reason belongs to a program"
    assert ("applied", "timeout") not in outcomes


HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("written_before_reading_ms", "expected_seconds", "flaw"),
    [
        (7 * HOUR_MS, 7 * 3600 + 5, None),
        (24 * HOUR_MS, 24 * 3600 + 5, None),
        (24 * HOUR_MS + 1, 5, "older_than_a_day"),
        (400 * 24 * HOUR_MS, 5, "older_than_a_day"),
        (-1, 5, "future"),
        (-HOUR_MS, 5, "future"),
        (None, 5, "missing"),
    ],
)
def test_the_age_of_an_event_does_not_believe_its_producers_clock(
    written_before_reading_ms: int | None, expected_seconds: int, flaw: str | None
) -> None:
    """A timestamp counts only if it is at most a day before the record was read."""
    registry = process_registry()
    meters = Meters(registry, "1.2.3")
    read_ms = round(time.time() * 1000) - 5000
    born = -1 if written_before_reading_ms is None else read_ms - written_before_reading_ms

    meters.note(TransactionCommitted(1, 0.1, (completed(born, read_ms),)))

    seconds = registry.get_sample_value("asset_sync_event_age_seconds_sum")
    assert seconds == pytest.approx(expected_seconds, abs=2)
    unusable = {
        reason: registry.get_sample_value(
            "asset_sync_event_times_unusable_total", {"reason": reason}
        )
        for reason in ("missing", "future", "older_than_a_day")
    }
    assert unusable == {reason: float(reason == flaw) for reason in unusable}


class Broken:
    """An observer with a bug."""

    def note(self, fact: Fact) -> None:
        """Read a field that the fact does not have."""
        raise KeyError(fact.name)


def test_an_observers_bug_is_logged_and_counted_and_ends_nothing() -> None:
    """The other observers get the fact, and the log repeats the error once a minute at most."""
    registry = process_registry()
    recent_outcomes = RecentOutcomes()
    configure("json", "info")
    with capture_logs() as response:
        observers = Observers(
            Broken(),
            Meters(registry, "1.2.3"),
            LogObserver("info"),
            recent_outcomes,
        )
        a_bug: Any = ["2xx"]
        observers.note(RequestEnded("upsert", "PATCH", "/x", a_bug, 0.1))
        observers.note(TransactionCommitted(1, 1.0, (completed(1),)))
        observers.note(TransactionCommitted(1, 1.0, (completed(1),)))
    structlog.reset_defaults()

    assert recent_outcomes.show()["outcomes"] == {"rejected": 2}
    assert registry.get_sample_value("asset_sync_observer_errors_total") == 5
    found = [(line["observer"], line["while_noting"]) for line in response]
    assert found == [
        ("Broken", "request.ended"),
        ("Meters", "request.ended"),
        ("RecentOutcomes", "request.ended"),
        ("Broken", "transaction.committed"),
    ]
    assert response[0]["log_level"] == "error"
    assert "Take a field for granted" not in response[0]["error"]
    assert "in note" in response[0]["traceback"]


def test_a_failing_family_shows_with_its_reason() -> None:
    """`/readyz?verbose` and the status page show it in one line, whatever the PIM's message is."""
    message = "Access\ndenied\x1b[31m " + "x" * 500
    why = FailureStatus(DELETE, "forbidden", 403, message, seconds=60.0, probe_in_seconds=None)
    failing = FamilyStatus("pack\nshots", 0, 0, 0, True, (why,))  # noqa: FBT003
    well = FamilyStatus("logos", 1, 0, 0, False)  # noqa: FBT003
    replica = ReplicaInfo("1", "g", {}, 60.0)
    report = StatusReport(replica, RecentOutcomes(), status, lambda: [failing, well], dict)

    (line,) = report.ready_lines()
    told = re.compile(
        rf"deletes fail since {TIME}, forbidden \(403\): Access denied \[31m x+…\. "
        r"A probe is under way\."
    )
    assert told.fullmatch(line.removeprefix("[ ]failing family pack shots: "))
    assert line.isprintable()
    assert len(line) < 450
    assert line in report.live_lines()
    families = report.page()["families"]
    assert told.fullmatch(families[0]["failing"])
    (failure,) = families[0]["failures"]
    assert (failure["action"], failure["reason"], failure["next_probe"]) == (
        DELETE,
        "forbidden",
        None,
    )
    assert seconds_since(failure["since"]) == pytest.approx(60, abs=2)
    assert (families[1]["failing"], families[1]["failures"]) == ("", [])
    (((family, action, reason), since),) = report.gauges.failing_families()
    assert (family, action, reason) == ("pack\nshots", DELETE, "forbidden")
    assert time.time() - since == pytest.approx(60, abs=2)


def test_no_more_failing_families_are_series_than_prometheus_bears() -> None:
    """Their names come from a DAM."""
    why = FailureStatus(DELETE, "timeout", None, None, seconds=1.0, probe_in_seconds=0.0)
    many = [FamilyStatus(f"f{number}", 0, 0, 0, True, (why,)) for number in range(50)]  # noqa: FBT003
    gauges = Gauges(status, dict, {}, dict, lambda: many)
    assert len(list(gauges.failing_families())) == 20


def test_an_outage_is_told_with_its_beginning_its_reason_and_the_next_probe() -> None:
    """Alike in `/readyz?verbose` and on the status page, which has it for programs too."""
    outage = OutageStatus(("logos", "packshots"), "timeout", None, "No answer.", 3600.0, 12.4)
    now = status(waits_for="pim", outage=outage)
    (line,) = waiting_lines(now)
    assert re.fullmatch(
        rf"\[ \]waiting: PIM unavailable since {TIME}: timeout: No answer\. Calls of logos, "
        r"packshots failed\. The next probe is due in 12 s\.",
        line,
    )
    report = StatusReport(
        ReplicaInfo("1", "g", {}, 60.0), RecentOutcomes(), lambda: now, list, dict
    )
    page = report.page()
    assert page["waiting"] == line.removeprefix("[ ]waiting: ")
    assert page["breaker_open"] is True
    shown = page["outage"]
    assert (shown["reason"], shown["message"]) == ("timeout", "No answer.")
    assert seconds_since(shown["since"]) == pytest.approx(3600, abs=2)
    assert seconds_since(shown["next_probe"]) == pytest.approx(-12.4, abs=2)


def test_the_oldest_open_change_is_shown_everywhere() -> None:
    """As a metric, in `/livez?verbose`, and on the status page."""
    old = partition(pending=3, oldest_offset=7, oldest_seconds=90.0)
    young = partition(partition=Partition("events", 1), oldest_offset=2, oldest_seconds=1.0)
    now = status(partitions=(young, old))
    assert "asset_sync_oldest_open_change_seconds 90.0" in scraped(now)
    lines = list(partition_lines(now, {}, {}))
    assert re.fullmatch(rf"\[ \]events/0 oldest open change: offset 7, since {TIME}", lines[-1])
    report = StatusReport(
        ReplicaInfo("1", "g", {}, 60.0), RecentOutcomes(), lambda: now, list, dict
    )
    shown = report.page()["partitions"][1]["oldest"]
    assert shown["offset"] == 7
    assert seconds_since(shown["since"]) == pytest.approx(90, abs=2)
    assert "asset_sync_oldest_open_change_seconds 0.0" in scraped(status())


def test_the_page_of_metrics_is_the_catalogue() -> None:
    """`make schemas` writes the page."""
    assert (ROOT / "docs" / "metrics.md").read_text() == as_markdown()


def test_held_deletes_are_told_while_all_else_goes_on() -> None:
    """With one line, and none where they are the reason why nothing is sent."""
    held = {"over_ceiling": ("packshots",), "held_changes": 1}
    (line,) = waiting_lines(status(**held))
    assert line.startswith("[ ]Deletes of packshots are held back (changes that wait: 1)")
    (line,) = waiting_lines(status(**held, waits_for="deletes"))
    assert line.startswith("[ ]waiting: Deletes of packshots")


@pytest.mark.parametrize("reason", get_args(WaitsFor))
def test_waiting_on_purpose_is_progress(reason: WaitsFor) -> None:
    """The replica may wait for any time, and reports the reason."""
    waiting = status(pending_changes=9, silent_seconds=1e6, waits_for=reason)
    assert is_working(waiting, 60)
    assert list(waiting_lines(waiting)) == [f"[ ]waiting: {why_waiting(waiting)}"]


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        (
            {"waits_for": "release", "dead_of_last": 501, "last_changes": 1000},
            (
                "Stopped: 501 of the last 1,000 changes would be dead-lettered. See "
                "`asset-sync dead-letters list --since 1h`, then run `asset-sync release`."
            ),
        ),
        (
            {"waits_for": "throttling", "gate_seconds": 12.34},
            "The PIM throttles (429): waiting, the next call is sent in 12.3 s.",
        ),
        (
            {"waits_for": "deletes", "over_ceiling": tuple("abcde"), "held_changes": 1234},
            (
                "Deletes of a, b, c and 2 more are held back (changes that wait: 1,234): more than "
                "DELETES_MAX_PER_HOUR in an hour. If they are meant, run `asset-sync release`."
            ),
        ),
        ({"waits_for": None}, None),
    ],
)
def test_the_reason_to_wait_has_its_numbers(members: dict[str, Any], sentence: str | None) -> None:
    """`/readyz?verbose` and the status page show the same sentence."""
    assert why_waiting(status(**members)) == sentence


def test_pending_changes_on_which_nothing_happens_are_stuck() -> None:
    """Pending changes on which nothing happens are a fault unless there is a reason to wait."""
    assert is_working(status(pending_changes=9, silent_seconds=59), 60)
    assert not is_working(status(pending_changes=9, silent_seconds=61), 60)
    assert is_working(status(pending_changes=0, silent_seconds=1e6), 60), "idle"


def test_a_partition_that_has_records_and_yields_none_is_stuck() -> None:
    """A partition is idle, paused on purpose, working or stuck."""
    long_ago = round(time.time() * 1000) - 301_000
    cases: list[tuple[dict[str, Any], int, float, str]] = [
        ({}, 0, 0.0, "idle"),
        ({"pending": 3}, 0, 0.0, "working"),
        ({}, 5, 301.0, "working"),
        ({"is_paused": True, "progressed_utc_ms": long_ago}, 5, 301.0, "paused on purpose"),
        ({"progressed_utc_ms": long_ago}, 0, 0.0, "idle"),
        ({"progressed_utc_ms": long_ago}, 5, 299.0, "working"),
        ({"progressed_utc_ms": long_ago}, 5, 301.0, "stuck"),
    ]
    for members, lag, unread, word in cases:
        now = status(partitions=(partition(**members),))
        (line,) = partition_lines(now, {PLACE: lag}, {PLACE: unread})
        assert line.startswith(f"[ ]events/0 {word}: {lag} to read"), line
        assert is_reading(now, {PLACE: unread}) is (word != "stuck")


def test_a_stuck_partition_is_shown_everywhere() -> None:
    """In `/livez`, in its lines, and on the status page."""
    stuck = status(partitions=(partition(progressed_utc_ms=0),))
    report = StatusReport(
        ReplicaInfo("1", "g", {}, 60.0),
        RecentOutcomes(),
        lambda: stuck,
        list,
        lambda: {PLACE: 5},
        unread_seconds=lambda: {PLACE: 301.0},
    )
    assert not report.live()["partitions"]
    assert report.live_lines()[-1].startswith("[ ]events/0 stuck: 5 to read")
    assert report.page()["partitions"][0]["state"] == "stuck"


def test_a_partition_is_not_stuck_while_kafka_is_away() -> None:
    """`/livez` must not restart the service because Kafka is unavailable."""
    long_ago = partition(progressed_utc_ms=0)
    assert is_reading(status(partitions=(long_ago,), waits_for="lease"), {PLACE: 1e6})
    assert is_reading(status(partitions=(long_ago,)), {}), "its leader does not answer"


def test_the_status_report_shows_one_state_everywhere() -> None:
    """Health checks, their lines and the status page agree."""
    now = status(pending_changes=3, waits_for="release", is_limit_reached=True, withheld_changes=2)
    limits = dict.fromkeys(
        ("pending_changes_limit", "pending_bytes_limit", "media_disk_bytes_limit"), 10.0
    )
    replica = ReplicaInfo("1.2.3", "group", limits, 60.0)
    recent_outcomes = RecentOutcomes()
    report = StatusReport(
        replica,
        recent_outcomes,
        lambda: now,
        lambda: [FamilyStatus("f", 1, 2, 3, is_failing=True)],
        lambda: {PLACE: 4},
    )
    recent_outcomes.note(TransactionCommitted(1, 0.2, (completed(),)))

    assert report.live() == {"progress": True, "partitions": True}
    assert "asset-sync release" in report.ready_lines()[0]
    assert report.ready_lines()[1] == "[ ]dead letters held back: 2"
    assert report.live_lines()[-1].startswith("[ ]events/0")
    page = json.loads(json.dumps(report.page()))
    assert page["waiting"] == why_waiting(now)
    assert page["families"][0]["is_failing"] is True
    assert page["partitions"][0]["lag"] == 4
    assert page["outcomes"] == {"rejected": 1}
    assert page["recent_dead_letters"][0]["asset"] == "packshots/a"
    shown = set(re.findall(r"\bnow\.([a-z_]+)", STATUS_PAGE))
    assert len(shown) > 15
    assert shown <= page.keys(), "the page shows what it is given"
    per_family = set(re.findall(r"number\(one\.([a-z_]+)\)", STATUS_PAGE))
    assert per_family <= page["families"][0].keys() | page["partitions"][0].keys()


def test_the_last_outcomes_are_kept() -> None:
    """Memory stays bounded, however many outcomes there are."""
    recent_outcomes = RecentOutcomes()
    for _ in range(3):
        many = (completed(),) * OUTCOMES_KEPT
        recent_outcomes.note(TransactionCommitted(OUTCOMES_KEPT, 0.1, many))
    shown = recent_outcomes.show()
    assert len(shown["recent_outcomes"]) == len(shown["recent_dead_letters"]) == OUTCOMES_KEPT
    assert shown["outcomes"]["rejected"] == 3 * OUTCOMES_KEPT


def test_facts_are_logged_at_their_levels() -> None:
    """Windows and calls are logged at debug, and so is a message that may quote a value."""
    configure("json", "debug")
    refusal = ChangeCompleted("t/0/1", None, "rejected", "refused_by_pim", "x")
    for level in ("info", "debug"):
        observer = LogObserver(level)
        with capture_logs() as response:
            for fact in facts(completed()):
                observer.note(fact)
            observer.note(refusal)
        names = [line["event"] for line in response]
        assert ("window.closed" in names) is (level == "debug")
        assert ("request.ended" in names) is (level == "debug")
        failing = next(line for line in response if line["event"] == "family.failing")
        assert (failing["reason"], failing["status"], failing["message"]) == ("forbidden", 403, "m")
        assert ("message" in response[-1]) is (level == "debug")
        assert response[-1]["log_level"] == "warning"
        assert "position.lost" in names
        downloads = [line for line in response if line["event"] == "media.download_ended"]
        assert [line["end"] for line in downloads] == ["downloaded", "failed"][level == "info" :]
    structlog.reset_defaults()


def test_foreign_text_in_the_log_cannot_command_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Names come from the DAM, messages from the PIM: neither ends a line nor colours it."""
    message = "\x1b[2J\u202e"
    configure("console", "info")
    LogObserver().note(FamilyFailing("a\u2066b", "upsert", "pim_error", 500, message))
    LogObserver().note(FamilyFailing("a b", "upsert", "pim_error", 500, "x\n[error] forged"))
    structlog.reset_defaults()

    logged = capsys.readouterr().out
    assert all(line.isprintable() for line in logged.splitlines())
    assert logged.count("\n") == 2
    assert r"\x1b[2J\u202e" in logged
    assert r"a\u2066b" in logged
