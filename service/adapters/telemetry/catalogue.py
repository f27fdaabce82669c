"""All metrics of asset-sync, from which `/metrics` and `docs/metrics.md` are made.

A label has a fixed set of values, because each value is a time series of its own. What grows with
the data, such as families, codes and ids, is therefore not a label, with one exception: what fails
is named, for alerts, by at most `FAILING_FAMILIES_MAX` series at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, product
from typing import Literal, get_args

from service.contracts.outcome import ACTIONS, Status
from service.contracts.reasons import REASONS_OF
from service.core.facts import (
    ClosedBy,
    DownloadEndName,
    RememberedBy,
    RetryCause,
    UploadEndName,
)
from service.core.inputs import CommitRefusal
from service.core.status import WaitsFor
from service.ports import RequestEnd, RequestKind

PREFIX = "asset_sync_"
Kind = Literal["counter", "gauge", "histogram", "info"]

_PARTITION: Mapping[str, tuple[str, ...]] = {"topic": (), "partition": ()}
"""The labels of a partition: only assigned partitions have values."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
AGE_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0)
FILE_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_COUNTS = (1, 2, 5, 10, 20, 50, 75, 99, 100)
_BATCH = (1, 10, 50, 100, 250, 500, 1000, 2500, 5000)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `labels` has the values of each label; an empty tuple stands for any value."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()
    only: tuple[tuple[str, ...], ...] = ()
    """Combinations of label values that can occur. If it is empty, all of them can."""

    @property
    def combinations(self) -> tuple[tuple[str, ...], ...]:
        """Combinations of label values that can occur; counters show them as 0 from the start."""
        return self.only or tuple(product(*self.labels.values()))

    @property
    def full_name(self) -> str:
        endings: dict[Kind, str] = {"counter": "_total", "info": "_info"}
        return PREFIX + self.name + endings.get(self.kind, "")


CATALOGUE = (
    # --- outcomes ---
    Metric(
        "outcomes",
        "counter",
        "changes",
        "Changes whose outcome is committed.",
        {"status": get_args(Status), "reason": ("", *chain(*REASONS_OF.values()))},
        only=tuple(
            (status, reason)
            for status in get_args(Status)
            for reason in REASONS_OF.get(status, ("",))
        ),
    ),
    Metric(
        "event_age_seconds",
        "histogram",
        "seconds",
        "Time from the timestamp of an event's record to its committed outcome: the service level. "
        "If the timestamp is missing, in the future or more than a day old, the time counts from "
        "when the event was read.",
        buckets=AGE_SECONDS,
    ),
    Metric(
        "event_times_unusable",
        "counter",
        "events",
        "Events whose age counts from when they were read, by what is wrong with the timestamp of "
        "their record.",
        {"reason": ("missing", "future", "older_than_a_day")},
    ),
    Metric(
        "transactions",
        "counter",
        "transactions",
        "Kafka transactions that commit outcomes and offsets, by how they ended.",
        {"result": ("committed", *(refusal.value for refusal in CommitRefusal))},
    ),
    Metric(
        "transaction_duration_seconds",
        "histogram",
        "seconds",
        "Time from choosing the outcomes of a transaction to its commit.",
        buckets=SECONDS,
    ),
    Metric(
        "transaction_outcomes",
        "histogram",
        "changes",
        "Outcomes in a committed transaction.",
        buckets=_BATCH,
    ),
    # --- pending changes ---
    Metric(
        "pending_changes",
        "gauge",
        "changes",
        "Pending changes: admitted, and their outcome is not yet committed. Alert on this, not on "
        "the lag alone: the committed offset stays behind while outcomes of later offsets are "
        "committed already.",
    ),
    Metric(
        "pending_changes_limit",
        "gauge",
        "changes",
        "Pending changes at which intake pauses (PIPELINE__MAX_PENDING_CHANGES).",
    ),
    Metric(
        "pending_bytes",
        "gauge",
        "bytes",
        "Size of the pending changes: key, value and headers.",
    ),
    Metric(
        "pending_bytes_limit",
        "gauge",
        "bytes",
        "Size of the pending changes at which intake pauses (PIPELINE__MAX_PENDING_BYTES).",
    ),
    Metric(
        "withheld_changes",
        "gauge",
        "changes",
        "Changes that the dead-letter limit holds back until an operator runs `asset-sync "
        "release`.",
    ),
    Metric(
        "dead_letter_limit_reached",
        "gauge",
        "0 or 1",
        "1 while intake is stopped because too many of the last 1,000 changes would be "
        "dead-lettered (DEAD_LETTERS__MAX_SHARE).",
    ),
    Metric(
        "held_changes",
        "gauge",
        "changes",
        "Deletes beyond DELETES_MAX_PER_HOUR of their family, and later changes of their assets: "
        "they wait until an operator runs `asset-sync release`.",
    ),
    Metric(
        "delete_ceiling_reached",
        "gauge",
        "0 or 1",
        "1 while deletes of a family wait because more than DELETES_MAX_PER_HOUR came in an hour.",
    ),
    Metric(
        "waiting",
        "gauge",
        "0 or 1",
        "1 for the reason why the service sends nothing on purpose, 0 for the other reasons.",
        {"reason": get_args(WaitsFor)},
    ),
    Metric(
        "quiet_seconds",
        "gauge",
        "seconds",
        "Time since a record was read, a call ended or a transaction was committed.",
    ),
    Metric(
        "oldest_open_change_seconds",
        "gauge",
        "seconds",
        "Time since the oldest pending change arrived in this replica; 0 if none is pending. A "
        "restart or a new assignment reads it again, so the time begins again.",
    ),
    # --- batches and calls ---
    Metric(
        "windows",
        "counter",
        "calls",
        "Batches taken from a family's window, by why the window was due: its time, its number of "
        "assets, its bytes of JSON, or a drain.",
        {"by": get_args(ClosedBy), "action": ACTIONS},
    ),
    Metric(
        "call_assets",
        "histogram",
        "assets",
        "Assets in a batch that was taken from a window.",
        {"action": ACTIONS},
        _COUNTS,
    ),
    Metric(
        "window_wait_seconds",
        "histogram",
        "seconds",
        "Time from when a window was due to its call: it waited for a free call, the rate limit or "
        "the end of throttling.",
        buckets=SECONDS,
    ),
    Metric(
        "due_window_wait_seconds",
        "gauge",
        "seconds",
        "Time for which the next window to be sent has been due.",
    ),
    Metric(
        "pim_request_duration_seconds",
        "histogram",
        "seconds",
        "Duration of requests to the PIM, by their purpose and how they ended.",
        {"route": get_args(RequestKind), "ended": get_args(RequestEnd)},
        SECONDS,
    ),
    Metric("calls_in_flight", "gauge", "calls", "Calls to the PIM in flight."),
    Metric(
        "calls_at_once_limit", "gauge", "calls", "This replica's share of PIM__MAX_CONCURRENCY."
    ),
    Metric(
        "calls_per_second_limit",
        "gauge",
        "calls/s",
        "This replica's share of PIM__MAX_CALLS_PER_SECOND.",
    ),
    Metric("calls_waiting_for_retry", "gauge", "calls", "Calls that wait for a retry."),
    Metric(
        "calls_retried",
        "counter",
        "calls",
        "Calls retried in whole or in part although the PIM works, by cause: throttled, cancelled, "
        "refused as a whole (refused, forbidden) or for some of their assets (item).",
        {"cause": get_args(RetryCause)},
    ),
    Metric(
        "calls_failed",
        "counter",
        "calls",
        "Calls without a usable answer from the PIM, by what came instead.",
        {"reason": REASONS_OF["failed"]},
    ),
    # --- the state of the PIM ---
    Metric("throttling", "gauge", "0 or 1", "1 while nothing is sent because the PIM throttles."),
    Metric(
        "throttling_wait_seconds", "gauge", "seconds", "Time until the next call after throttling."
    ),
    Metric(
        "throttled",
        "counter",
        "times",
        "Times that sending stopped because the PIM throttled (429).",
    ),
    Metric(
        "breaker_open",
        "gauge",
        "0 or 1",
        "1 while the PIM is unavailable: the circuit breaker is open, and only single probe calls "
        "are sent.",
    ),
    Metric("breaker_opened", "counter", "times", "Times that the circuit breaker opened."),
    Metric(
        "failing_lanes",
        "gauge",
        "lanes",
        "Failing families, counted for upserts and for deletes: their calls fail while those of "
        "other families succeed, and only single probe calls are sent.",
    ),
    Metric(
        "family_failing_since_timestamp_seconds",
        "gauge",
        "seconds since 1970",
        "Since when the upserts or deletes of a family fail while those of other families succeed. "
        "Only families that fail have a value, and at most 20 series are shown.",
        {"family": (), "action": ACTIONS, "reason": REASONS_OF["failed"]},
    ),
    Metric(
        "credentials_refused",
        "counter",
        "times",
        "Times that the PIM refused the credentials, counted at most once a minute.",
    ),
    Metric(
        "structures",
        "counter",
        "readings",
        "Times that a family's attributes and options were read from the PIM, by result.",
        {"result": ("read", "unreadable")},
    ),
    Metric(
        "options",
        "counter",
        "options",
        "Options that asset-sync tried to create in the PIM, by result.",
        {"result": ("created", "refused")},
    ),
    # --- media files ---
    Metric(
        "assets_waiting_for_files",
        "gauge",
        "assets",
        "Assets whose changes wait until their media files are in the PIM.",
    ),
    Metric(
        "media_downloads_in_flight", "gauge", "downloads", "Downloads of media files in flight."
    ),
    Metric(
        "media_disk_bytes",
        "gauge",
        "bytes",
        "Bytes that media files take on disk, and that downloads in flight may bring.",
    ),
    Metric(
        "media_disk_bytes_limit",
        "gauge",
        "bytes",
        "MEDIA__DISK_BYTES; 0 if no host of media files is allowed.",
    ),
    Metric(
        "media_downloads",
        "counter",
        "downloads",
        "Downloads of media files, by how they ended: downloaded; not_modified since the last "
        "time; refused, which rejects the change; failed, which is tried again; cancelled.",
        {"end": get_args(DownloadEndName)},
    ),
    Metric(
        "media_download_duration_seconds",
        "histogram",
        "seconds",
        "Duration of downloads of media files, however they ended.",
        buckets=FILE_SECONDS,
    ),
    Metric(
        "media_uploads",
        "counter",
        "uploads",
        "Uploads of media files to the PIM, by how they ended.",
        {"end": get_args(UploadEndName)},
    ),
    Metric(
        "media_upload_duration_seconds",
        "histogram",
        "seconds",
        "Duration of uploads of media files to the PIM, however they ended.",
        buckets=FILE_SECONDS,
    ),
    Metric(
        "media_bytes",
        "counter",
        "bytes",
        "Bytes of the media files that were downloaded and uploaded.",
        {"direction": ("downloaded", "uploaded")},
    ),
    Metric(
        "media_remembered",
        "counter",
        "files",
        "Media files that were not uploaded because the PIM has them already, by how that was "
        "known: from the sha256 of the event, from the source's answer that the file has not "
        "changed (etag), or from the content that was downloaded.",
        {"by": get_args(RememberedBy)},
    ),
    # --- partitions ---
    Metric("assigned_partitions", "gauge", "partitions", "Partitions assigned to this replica."),
    Metric("paused_partitions", "gauge", "partitions", "Partitions whose intake is paused."),
    Metric(
        "consumer_lag",
        "gauge",
        "records",
        "Records of an assigned partition that were not read yet, including those behind an open "
        "transaction.",
        _PARTITION,
    ),
    Metric(
        "records_behind_open_transaction",
        "gauge",
        "records",
        "Records of an assigned partition that cannot be read (read_committed) until a producer "
        "ends its open transaction.",
        _PARTITION,
    ),
    Metric(
        "partition_pending_changes",
        "gauge",
        "changes",
        "Pending changes of an assigned partition.",
        _PARTITION,
    ),
    Metric(
        "partition_span",
        "gauge",
        "offsets",
        "Offsets from the oldest pending change of a partition to the newest record that was read. "
        "The partition pauses at 20,000.",
        _PARTITION,
    ),
    Metric(
        "partition_last_progress_timestamp_seconds",
        "gauge",
        "seconds since 1970",
        "Time at which a record of the partition was last read, or an outcome of it committed.",
        _PARTITION,
    ),
    Metric(
        "positions_lost",
        "counter",
        "times",
        "Times that a committed offset was no longer on the broker, because of retention or a "
        "re-created topic.",
    ),
    Metric(
        "offset_maps_unused",
        "counter",
        "times",
        "Times that the offset map in a commit's metadata did not belong to the committed offset, "
        "because a tool moved or copied it. Everything above the offset was read again.",
    ),
    Metric(
        "dead_letters_truncated",
        "counter",
        "times",
        "Times that the dead-letter topic refused dead letters as too large. They were written "
        "without their value, headers or key, or not at all.",
    ),
    # --- the process ---
    Metric(
        "observer_errors",
        "counter",
        "errors",
        "Errors in the logs, metrics, traces or status page, logged as `observer.failed`. The "
        "service goes on. Please report them as a bug.",
    ),
    Metric(
        "build", "info", "", "Versions of asset-sync and Python.", {"version": (), "python": ()}
    ),
)

BY_NAME = {metric.name: metric for metric in CATALOGUE}
