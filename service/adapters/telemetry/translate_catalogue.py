"""All metrics of `translate`, as `catalogue.py` has those of `run`.

The label `source` has the names of the sources file, and `host` those of its hosts.
"""

from collections.abc import Mapping
from typing import get_args

from service.adapters.telemetry.catalogue import AGE_SECONDS, SECONDS, Metric
from service.contracts.outcome import ACTIONS
from service.contracts.reasons import REASONS_OF_TRANSLATION
from service.core.inputs import ChangesRefused, CommitRefusal
from service.translation.facts import ReadEnd
from service.translation.status import SourceWaitsFor

SHARED = (
    "consumer_lag",
    "records_behind_open_transaction",
    "partition_last_progress_timestamp_seconds",
    "positions_lost",
    "offset_maps_unused",
    "dead_letters_truncated",
    "observer_errors",
    "build",
)
"""Metrics of `run` that `translate` has too."""

SOURCE: Mapping[str, tuple[str, ...]] = {"source": ()}

RESULTS: tuple[tuple[str, str], ...] = (
    *((action, "") for action in ACTIONS),
    *((status, reason) for status, reasons in REASONS_OF_TRANSLATION.items() for reason in reasons),
)
"""Each result of an item, with each reason that it may have."""

TRANSLATE_CATALOGUE = (
    # --- what raw records become ---
    Metric(
        "translated_records",
        "counter",
        "records",
        "Raw records whose changes and outcomes are committed.",
        SOURCE,
    ),
    Metric(
        "translated_items",
        "counter",
        "items",
        "What the items of raw records became: a change for `run`, or an outcome of their own.",
        {
            **SOURCE,
            "result": tuple(dict.fromkeys(result for result, _ in RESULTS)),
            "reason": tuple(dict.fromkeys(reason for _, reason in RESULTS)),
        },
    ),
    Metric(
        "raw_record_age_seconds",
        "histogram",
        "seconds",
        "Time from the timestamp of a raw record to its committed changes and outcomes. If the "
        "timestamp is missing, in the future or more than a day old, the time counts from when the "
        "record was read.",
        SOURCE,
        AGE_SECONDS,
    ),
    Metric(
        "translate_transactions",
        "counter",
        "transactions",
        "Kafka transactions that commit changes, outcomes and offsets, by how they ended.",
        {
            **SOURCE,
            "result": (
                "committed",
                *(refusal.value for refusal in CommitRefusal),
                ChangesRefused.value,
            ),
        },
    ),
    Metric(
        "translate_transaction_duration_seconds",
        "histogram",
        "seconds",
        "Time from choosing the records of a transaction to its commit.",
        SOURCE,
        SECONDS,
    ),
    # --- reading back ---
    Metric(
        "read_duration_seconds",
        "histogram",
        "seconds",
        "Duration of reads of assets from a DAM, with the wait for the limits of the host, by how "
        "they ended.",
        {"host": (), "ended": get_args(ReadEnd)},
        SECONDS,
    ),
    Metric(
        "host_failing",
        "gauge",
        "0 or 1",
        "1 while no read of this host succeeds: the source waits for it.",
        {**SOURCE, "host": ()},
    ),
    # --- open work ---
    Metric(
        "translate_pending_records",
        "gauge",
        "records",
        "Raw records that are read and not committed yet.",
        SOURCE,
    ),
    Metric(
        "translate_pending_items", "gauge", "items", "Items of the pending raw records.", SOURCE
    ),
    Metric(
        "translate_pending_bytes",
        "gauge",
        "bytes",
        "Memory that the pending raw records and their changes take, approximately.",
        SOURCE,
    ),
    Metric(
        "translate_withheld_items",
        "gauge",
        "items",
        "Items that the dead-letter limit holds back until an operator runs `asset-sync release "
        "--source NAME`.",
        SOURCE,
    ),
    Metric(
        "translate_dead_letter_limit_reached",
        "gauge",
        "0 or 1",
        "1 while a source is stopped because too many of its last 1,000 items would be "
        "dead-lettered (DEAD_LETTERS__MAX_SHARE).",
        SOURCE,
    ),
    Metric(
        "translate_delete_ceiling_reached",
        "gauge",
        "0 or 1",
        "1 while a source is stopped because more than DELETES_MAX_PER_HOUR of its items became "
        "deletes in an hour.",
        SOURCE,
    ),
    Metric(
        "translate_waiting",
        "gauge",
        "0 or 1",
        "1 for the reason why nothing of a source is written on purpose, 0 for the others.",
        {**SOURCE, "reason": get_args(SourceWaitsFor)},
    ),
    Metric(
        "translate_quiet_seconds",
        "gauge",
        "seconds",
        "Time since a record was read, a read ended or a transaction was committed.",
        SOURCE,
    ),
    Metric(
        "translate_assigned_partitions",
        "gauge",
        "partitions",
        "Partitions of a source that are assigned to this replica.",
        SOURCE,
    ),
    Metric(
        "translate_paused_partitions",
        "gauge",
        "partitions",
        "Partitions of a source whose intake is paused.",
        SOURCE,
    ),
)

TRANSLATE_BY_NAME = {metric.name: metric for metric in TRANSLATE_CATALOGUE}
