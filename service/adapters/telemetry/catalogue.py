"""Every metric of ours: what `/metrics` shows and `docs/metrics.md` tells comes from here.

Labels are closed sets; what grows with the data (families, codes, ids) is never one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Literal, get_args

from service.contracts.outcome import ACTIONS, Reason, Status
from service.contracts.reasons import REASONS_OF
from service.core.facts import ClosedBy, RetryCause
from service.core.inputs import CommitRefusal
from service.core.status import WaitsFor
from service.ports import RequestEnd, Route

PREFIX = "asset_sync_"
Kind = Literal["counter", "gauge", "histogram", "info"]

_PARTITION: Mapping[str, tuple[str, ...]] = {"topic": (), "partition": ()}
"""An assigned partition: its values are as many as the assignment has."""
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_AGE_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0)
_COUNTS = (1, 2, 5, 10, 20, 50, 75, 99, 100)
_BATCH = (1, 10, 50, 100, 250, 500, 1000, 2500, 5000)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `labels` with the values that each may have (none named: assigned ones)."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()
    only: tuple[tuple[str, ...], ...] = ()
    """Combinations of label values that can occur; none named: all of them."""

    @property
    def combinations(self) -> tuple[tuple[str, ...], ...]:
        """Combinations of label values that can occur: what counters show as 0 from the start."""
        return self.only or tuple(product(*self.labels.values()))

    @property
    def full_name(self) -> str:
        """As `/metrics` has it."""
        endings: dict[Kind, str] = {"counter": "_total", "info": "_info"}
        return PREFIX + self.name + endings.get(self.kind, "")


CATALOGUE = (
    # --- what comes out ---
    Metric(
        "outcomes",
        "counter",
        "changes",
        "Changes whose outcome is committed.",
        {"status": get_args(Status), "reason": ("", *get_args(Reason))},
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
        "Time from an event's record to its committed outcome: the service level. It counts from "
        "when the event was read where the record's time is missing, in the future or more than a "
        "day before that.",
        buckets=_AGE_SECONDS,
    ),
    Metric(
        "event_times_unusable",
        "counter",
        "events",
        "Events whose age counts from when they were read, by what was wrong with the time of "
        "their record.",
        {"reason": ("missing", "future", "older_than_a_day")},
    ),
    Metric(
        "transactions",
        "counter",
        "transactions",
        "Transactions of outcomes and positions, by how they ended.",
        {"result": ("committed", *(refusal.value for refusal in CommitRefusal))},
    ),
    Metric(
        "transaction_duration_seconds",
        "histogram",
        "seconds",
        "From the choice of a transaction's outcomes to its commit.",
        buckets=_SECONDS,
    ),
    Metric(
        "transaction_outcomes",
        "histogram",
        "changes",
        "Outcomes in a committed transaction.",
        buckets=_BATCH,
    ),
    # --- what is held ---
    Metric(
        "pending_changes",
        "gauge",
        "changes",
        "Changes admitted whose outcome is not yet committed. Alert on this, not on the lag alone: "
        "the committed position stays behind while later offsets are settled already.",
    ),
    Metric("pending_changes_limit", "gauge", "changes", "Where the intake pauses."),
    Metric(
        "pending_bytes",
        "gauge",
        "bytes",
        "Key, value and headers of the unsettled changes.",
    ),
    Metric("pending_bytes_limit", "gauge", "bytes", "Where the intake pauses."),
    Metric(
        "withheld_changes",
        "gauge",
        "changes",
        "Dead letters that the limit on dead letters holds back until somebody looks.",
    ),
    Metric(
        "dead_letter_limit_reached",
        "gauge",
        "0 or 1",
        "1 while intake is stopped because too many of the last 1,000 changes would be "
        "dead-lettered (DEAD_LETTERS__MAX_SHARE).",
    ),
    Metric(
        "waiting",
        "gauge",
        "0 or 1",
        "1 for the reason why nothing is sent at present, on purpose.",
        {"reason": get_args(WaitsFor)},
    ),
    Metric(
        "quiet_seconds",
        "gauge",
        "seconds",
        "Since anything arrived, a call ended or a transaction was committed.",
    ),
    # --- windows and calls ---
    Metric(
        "windows",
        "counter",
        "calls",
        "Calls cut from a family's window, by what made it due.",
        {"by": get_args(ClosedBy), "action": ACTIONS},
    ),
    Metric(
        "call_assets",
        "histogram",
        "assets",
        "Assets in a call that was cut from a window.",
        {"action": ACTIONS},
        _COUNTS,
    ),
    Metric(
        "window_wait_seconds",
        "histogram",
        "seconds",
        "How long a due window waited for its call: the wait at the gate.",
        buckets=_SECONDS,
    ),
    Metric(
        "due_window_wait_seconds",
        "gauge",
        "seconds",
        "How long the window whose turn is next has been due.",
    ),
    Metric(
        "pim_request_duration_seconds",
        "histogram",
        "seconds",
        "Requests to the PIM, by what they are for and how they ended.",
        {"route": get_args(Route), "ended": get_args(RequestEnd)},
        _SECONDS,
    ),
    Metric("calls_in_flight", "gauge", "calls", "Calls to the PIM in flight."),
    Metric("calls_at_once_limit", "gauge", "calls", "This replica's share of the calls at once."),
    Metric("calls_per_second_limit", "gauge", "calls/s", "This replica's share of the call rate."),
    Metric("calls_waiting_for_retry", "gauge", "calls", "Calls that wait to be retried."),
    Metric(
        "calls_retried",
        "counter",
        "calls",
        "Calls that were retried in whole or in part for another cause than a failing PIM.",
        {"cause": get_args(RetryCause)},
    ),
    Metric(
        "calls_failed",
        "counter",
        "calls",
        "Calls that got no usable answer from the PIM, by what they got instead.",
        {"reason": REASONS_OF["failed"]},
    ),
    # --- the PIM's state, as we see it ---
    Metric("throttling", "gauge", "0 or 1", "1 while the PIM throttles and nothing is sent."),
    Metric("throttling_wait_seconds", "gauge", "seconds", "Until the closed gate tries again."),
    Metric("throttled", "counter", "times", "Times that the PIM closed the gate (429)."),
    Metric(
        "breaker_open",
        "gauge",
        "0 or 1",
        "1 while the PIM is unavailable: the circuit breaker is open.",
    ),
    Metric("breaker_opened", "counter", "times", "Times that the circuit breaker opened."),
    Metric(
        "failing_lanes",
        "gauge",
        "lanes",
        "Failing families, counted for upserts and for deletes: their calls fail while those of "
        "other families succeed, and only single probe calls are sent.",
    ),
    Metric("credentials_refused", "counter", "times", "Refused credentials, at most one a minute."),
    Metric(
        "structures",
        "counter",
        "readings",
        "Readings of a family's structure, by how they ended.",
        {"result": ("read", "unreadable")},
    ),
    Metric(
        "options",
        "counter",
        "options",
        "Options that were to be created in the PIM.",
        {"result": ("created", "refused")},
    ),
    # --- partitions ---
    Metric("assigned_partitions", "gauge", "partitions", "Partitions that this replica owns."),
    Metric("paused_partitions", "gauge", "partitions", "Partitions whose intake is paused."),
    Metric(
        "consumer_lag",
        "gauge",
        "records",
        "Records of an assigned partition that were not read yet, those behind an open "
        "transaction included.",
        _PARTITION,
    ),
    Metric(
        "records_behind_open_transaction",
        "gauge",
        "records",
        "Records of an assigned partition that nobody can read (read_committed) before a producer "
        "ends its open transaction.",
        _PARTITION,
    ),
    Metric(
        "partition_pending_changes",
        "gauge",
        "changes",
        "Unsettled changes of an assigned partition.",
        _PARTITION,
    ),
    Metric(
        "partition_span",
        "gauge",
        "offsets",
        "Offsets from the oldest change whose outcome is not committed to the newest record that "
        "was read; the partition pauses at 20,000.",
        _PARTITION,
    ),
    Metric(
        "partition_last_progress_timestamp_seconds",
        "gauge",
        "seconds since 1970",
        "When a record of the partition was read, or an outcome of it committed.",
        _PARTITION,
    ),
    Metric(
        "positions_lost",
        "counter",
        "times",
        "Committed positions that the broker no longer had: retention, or a re-created topic.",
    ),
    Metric(
        "offset_maps_unused",
        "counter",
        "times",
        "Offset maps that did not belong to the committed position on which they stood (it was "
        "moved or copied); everything above was read again.",
    ),
    Metric(
        "dead_letters_truncated",
        "counter",
        "times",
        "Times that the dead-letter topic refused dead letters as too large: they were written "
        "without their value, headers or key, or not at all.",
    ),
    # --- the process ---
    Metric(
        "observer_errors",
        "counter",
        "errors",
        "Errors in logging, metrics, traces or the status page. They end nothing; the log has "
        "them as `observer.failed`. Report them as a bug.",
    ),
    Metric("build", "info", "", "What runs here.", {"version": (), "python": ()}),
)

BY_NAME = {metric.name: metric for metric in CATALOGUE}


def as_markdown() -> str:
    """`docs/metrics.md`."""
    lines = [
        "# Metrics",
        "",
        "What `/metrics` shows, beside Python's own process metrics (`process_*`, `python_*`).",
        "This page is generated: `make schemas`.",
        "",
        "| metric | type | unit | labels | meaning |",
        "|---|---|---|---|---|",
    ]
    for metric in CATALOGUE:
        labels = "; ".join(
            f"`{name}`: {', '.join(value or '(none)' for value in values) or 'any'}"
            for name, values in metric.labels.items()
        )
        cells = (f"`{metric.full_name}`", metric.kind, metric.unit, labels, metric.meaning)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
