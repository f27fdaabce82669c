"""What is seen of a source: its metrics, its lines of the probes, its log."""

import time
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from structlog.typing import EventDict

from service.adapters.telemetry.catalogue import BY_NAME
from service.adapters.telemetry.health import PARTITION_QUIET_SECONDS_MAX
from service.adapters.telemetry.logs import LogObserver
from service.adapters.telemetry.progress import IDLE_SECONDS, PROGRESS_SECONDS, SourceProgress
from service.adapters.telemetry.source_report import SourceReport
from service.adapters.telemetry.translate_catalogue import (
    RESULTS,
    SHARED,
    TRANSLATE_BY_NAME,
    TRANSLATE_CATALOGUE,
)
from service.adapters.telemetry.translate_meters import (
    SourceGauges,
    SourcesCollector,
    TranslateMeters,
)
from service.core.facts import ObserverFailed, PositionLost, TransactionRefused
from service.core.model import Partition
from service.core.status import PartitionStatus
from service.translation.facts import (
    HostFailing,
    PartResult,
    ReadEnded,
    RecordsTranslated,
    TranslatedRecord,
)
from service.translation.status import SourceStatus, SourceWaitsFor

PLACE = Partition("s3.raw", 1)
QUIET_SECONDS = 120.0
HOUR_MS = 3_600_000


def status(
    waits_for: SourceWaitsFor | None = None,
    *,
    pending: int = 0,
    silent_seconds: float = 0.0,
    progressed_utc_ms: int = 2_000_000_000_000,
) -> SourceStatus:
    """The status of a source with one partition."""
    partition = PartitionStatus(PLACE, 10, 12, 2, 2, False, progressed_utc_ms)  # noqa: FBT003
    return SourceStatus(
        source="s3",
        waits_for=waits_for,
        pending_records=pending,
        pending_changes=3 * pending,
        pending_bytes=100 * pending,
        withheld_changes=7,
        is_limit_reached=waits_for == "release",
        dead_of_last=501,
        last_changes=1000,
        silent_seconds=silent_seconds,
        failing_hosts={"dam": "The host dam answers 503."} if waits_for == "host" else {},
        partitions=(partition,),
    )


def translated(*results: PartResult, record_timestamp_ms: int = -1) -> RecordsTranslated:
    """A transaction with one raw record."""
    record = TranslatedRecord(PLACE, 7, results, record_timestamp_ms, 1000)
    changes = sum(one.reason is None for one in results)
    return RecordsTranslated(1, changes, 0.2, (record,))


@pytest.fixture
def registry() -> CollectorRegistry:
    """An empty registry."""
    return CollectorRegistry()


@pytest.fixture
def meters(registry: CollectorRegistry) -> TranslateMeters:
    """The meters of two sources and a host."""
    return TranslateMeters(registry, ("s3", "thin"), ("dam",), "1.2.3")


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """The log lines of the test."""
    with capture_logs() as lines:
        yield lines


def test_every_count_begins_at_zero(registry: CollectorRegistry, meters: TranslateMeters) -> None:
    """Prometheus sees an increase only after a first value."""
    assert meters is not None
    for source in ("s3", "thin"):
        for result, reason in RESULTS:
            labels = {"source": source, "result": result, "reason": reason}
            assert registry.get_sample_value("asset_sync_translated_items_total", labels) == 0
        for result in TRANSLATE_BY_NAME["translate_transactions"].labels["result"]:
            labels = {"source": source, "result": result}
            value = registry.get_sample_value("asset_sync_translate_transactions_total", labels)
            assert value == 0


def test_facts_are_counted_by_source(registry: CollectorRegistry, meters: TranslateMeters) -> None:
    """Records, items by what they became, transactions, reads by host."""
    source = meters.of("s3")
    ended = PartResult("rejected", "unmappable")
    source.note(translated(PartResult("upsert"), PartResult("upsert"), ended))
    source.note(TransactionRefused("fenced"))
    source.note(PositionLost("x"))
    meters.note(ReadEnded("dam", "found", 0.1))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"asset_sync_{name}", labels)

    assert value("translated_records_total", source="s3") == 1
    assert value("translated_records_total", source="thin") == 0
    assert value("translated_items_total", source="s3", result="upsert", reason="") == 2
    assert value("translated_items_total", source="s3", result="rejected", reason="unmappable") == 1
    assert value("translate_transactions_total", source="s3", result="committed") == 1
    assert value("translate_transactions_total", source="s3", result="fenced") == 1
    assert value("positions_lost_total") == 1
    assert value("read_duration_seconds_count", host="dam", ended="found") == 1
    assert value("raw_record_age_seconds_count", source="s3") == 1


@pytest.mark.parametrize(
    ("written_before_reading_ms", "expected_seconds"),
    [
        (7 * HOUR_MS, 7 * 3600 + 5),
        (24 * HOUR_MS + 1, 5),
        (400 * 24 * HOUR_MS, 5),
        (-HOUR_MS, 5),
        (None, 5),
    ],
)
def test_the_age_of_a_raw_record_does_not_believe_its_producers_clock(
    registry: CollectorRegistry,
    meters: TranslateMeters,
    written_before_reading_ms: int | None,
    expected_seconds: int,
) -> None:
    """A DAM may stamp seconds, or old events with their old times."""
    read_ms = round(time.time() * 1000) - 5000
    born = -1 if written_before_reading_ms is None else read_ms - written_before_reading_ms
    record = TranslatedRecord(PLACE, 7, (PartResult("upsert"),), born, read_ms)

    meters.of("s3").note(RecordsTranslated(1, 1, 0.2, (record,)))

    seconds = registry.get_sample_value("asset_sync_raw_record_age_seconds_sum", {"source": "s3"})
    assert seconds == pytest.approx(expected_seconds, abs=2)


def test_every_metric_is_in_the_catalogue(
    registry: CollectorRegistry, meters: TranslateMeters
) -> None:
    """And every one of the catalogue is given."""
    assert meters is not None
    gauges = SourceGauges(status, lambda: {PLACE: 4}, lambda: {PLACE: 1}, dict, ("dam",))
    registry.register(SourcesCollector({"s3": gauges}))

    known = [*TRANSLATE_CATALOGUE, *(BY_NAME[name] for name in SHARED)]
    families = {family.name: family for family in registry.collect()}
    assert families.keys() == {
        metric.full_name.removesuffix("_total").removesuffix("_info") for metric in known
    }
    lag = {"topic": "s3.raw", "partition": "1"}
    assert registry.get_sample_value("asset_sync_consumer_lag", lag) == 5
    for metric in known:
        name = metric.full_name.removesuffix("_total").removesuffix("_info")
        for sample in families[name].samples:
            assert metric.labels.keys() - {"version", "python"} <= sample.labels.keys()


@pytest.mark.parametrize(
    ("waits_for", "line"),
    [
        ("release", "501 of the last 1,000 items would be dead-lettered"),
        ("release", "asset-sync release --source s3"),
        ("host", "The DAM is unavailable"),
        ("host", "The host dam answers 503."),
        ("commit", "cannot be committed"),
        ("drain", "Draining"),
        ("assignment", "No partition is assigned"),
    ],
)
def test_the_probes_say_why_nothing_is_written(waits_for: SourceWaitsFor, line: str) -> None:
    """With the source's name, since a replica may have many."""
    report = SourceReport(lambda: status(waits_for), dict, dict, QUIET_SECONDS)

    shown = report.ready_lines()
    assert any(line in one for one in shown), shown
    assert all("s3" in one for one in shown)
    assert "s3.raw/1" in report.live_lines()[-1]


@pytest.mark.parametrize(
    ("found", "is_well"),
    [
        (status(), True),
        (status(silent_seconds=QUIET_SECONDS + 1), True),
        (status(pending=1, silent_seconds=QUIET_SECONDS - 1), True),
        (status(pending=1, silent_seconds=QUIET_SECONDS + 1), False),
        (status("host", pending=1, silent_seconds=QUIET_SECONDS + 1), True),
    ],
    ids=["idle", "idle for long", "working", "hanging", "waiting on purpose"],
)
def test_a_source_that_hangs_is_unhealthy(found: SourceStatus, *, is_well: bool) -> None:
    """A pause on purpose is progress."""
    assert SourceReport(lambda: found, dict, dict, QUIET_SECONDS).live()["progress"] is is_well


def test_a_partition_that_delivers_nothing_is_unhealthy() -> None:
    """Although it has records to read."""
    stuck = status(progressed_utc_ms=0)

    def is_well(unread_seconds: float) -> bool:
        report = SourceReport(
            lambda: stuck, lambda: {PLACE: 1}, lambda: {PLACE: unread_seconds}, QUIET_SECONDS
        )
        is_stuck = " stuck: 1 to read" in report.live_lines()[-1]
        assert is_stuck is not report.live()["partitions"]
        return report.live()["partitions"]

    assert is_well(PARTITION_QUIET_SECONDS_MAX - 1)
    assert not is_well(PARTITION_QUIET_SECONDS_MAX + 1)


def test_the_log_names_the_source(logged: list[EventDict]) -> None:
    """In the line of each fact and of the work of a minute."""
    progress = SourceProgress(0.0, "s3")
    progress.note(translated(PartResult("upsert"), PartResult("skipped", "not_selected")))
    progress.note(ObserverFailed("x", "y", "z", ""))
    progress.pass_time(PROGRESS_SECONDS, 3, 4)
    progress.pass_time(PROGRESS_SECONDS + IDLE_SECONDS - 1, 0, 0)
    LogObserver(source="s3").note(HostFailing("dam", "It is down."))

    work, failing = logged
    assert work["event"] == "service.progress"
    assert (work["source"], work["items"]) == ("s3", {"skipped": 1, "upsert": 1})
    assert (work["pending_changes"], work["lag"]) == (3, 4)
    assert (failing["event"], failing["source"], failing["host"]) == ("host.failing", "s3", "dam")


def test_a_transaction_is_logged_without_its_records(logged: list[EventDict]) -> None:
    """Only at debug."""
    LogObserver("info").note(translated(PartResult("upsert")))
    LogObserver("debug").note(translated(PartResult("upsert")))

    [line] = logged
    assert (line["event"], line["changes"], "completed" in line) == (
        "translation.committed",
        1,
        False,
    )
