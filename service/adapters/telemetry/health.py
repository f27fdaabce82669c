"""Judge whether the replica is stuck, for `/livez`, and put its state in words (contract.md §6).

Rule 1: a pause on purpose counts as progress, and so does waiting for Kafka or the PIM, because a
restart would not help.
Rule 2: a replica is stuck if it could work and does not; then only a restart helps.
Rule 3: records that a leader told of before it went away do not count, as they cannot be read.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from service.core.model import Partition
from service.core.status import (
    FailureStatus,
    FamilyStatus,
    OutageStatus,
    PartitionStatus,
    PipelineStatus,
    WaitsFor,
    WorkStatus,
)

PARTITION_QUIET_SECONDS_MAX = 300.0
"""How long a partition may have records to read and deliver none before it is stuck."""

NAMES_SHOWN_MAX = 3
"""How many of the families over the ceiling on deletes are named in one line."""

MESSAGE_CHARACTERS_MAX = 300
"""How much of the PIM's message is shown in one line."""

_REASONS: dict[WaitsFor, str] = {
    "assignment": "No partition is assigned to this replica.",
    "drain": "Draining: this replica is stopping.",
    "release": "Stopped: {dead:,} of the last {changes:,} changes would be dead-lettered. See "
    "`asset-sync dead-letters list --since 1h`, then run `asset-sync release`.",
    "lease": "Kafka acknowledges no heartbeat of this replica.",
    "commit": "Outcomes cannot be committed to Kafka.",
    "pim": "{outage}",
    "throttling": "The PIM throttles (429): waiting, the next call is sent in {gate:.1f} s.",
    "deletes": "{held}",
}
"""The sentence for each reason to wait; `why_waiting` fills in the numbers."""

_CALLS = {"upsert": "upserts", "delete": "deletes"}


def is_working(status: WorkStatus, quiet_seconds_max: float) -> bool:
    """Return whether no change is pending, or pending changes progress or wait on purpose."""
    is_busy = status.pending_changes > 0 and status.waits_for is None
    return not is_busy or status.silent_seconds <= quiet_seconds_max


def is_reading(status: WorkStatus, unread_seconds: Mapping[Partition, float]) -> bool:
    """Return whether no assigned partition is stuck.

    `unread_seconds` has for how long partitions have had records to read without any being read.
    """
    return not any(
        _is_stuck(status, partition, unread_seconds.get(partition.partition, 0.0))
        for partition in status.partitions
    )


def partition_lines(
    status: WorkStatus,
    lags: Mapping[Partition, int],
    unread_seconds: Mapping[Partition, float],
) -> Iterator[str]:
    """Yield a line with the state of each assigned partition."""
    for one in status.partitions:
        topic, number = one.partition
        lag, unread = lags.get(one.partition, 0), unread_seconds.get(one.partition, 0.0)
        yield (
            f"[ ]{topic}/{number} {partition_state(status, one, lag, unread)}: {lag} to read, "
            f"{one.pending} pending, position {one.position}, committed {one.watermark}"
        )
        if one.oldest_offset is not None:
            yield (
                f"[ ]{topic}/{number} oldest open change: offset {one.oldest_offset}, "
                f"since {time_before(one.oldest_seconds)}"
            )


def waiting_lines(status: PipelineStatus) -> Iterator[str]:
    """Yield a line with the reason why nothing is sent, and one for changes held back."""
    if (reason := why_waiting(status)) is not None:
        yield f"[ ]waiting: {reason}"
    if status.is_limit_reached:
        yield f"[ ]dead letters held back: {status.withheld_changes:,}"
    if status.over_ceiling and status.waits_for != "deletes":
        yield f"[ ]{why_held(status)}"


def why_waiting(status: PipelineStatus) -> str | None:
    """Return the reason why nothing is sent, with its numbers; None if there is none."""
    if status.waits_for is None:
        return None
    return _REASONS[status.waits_for].format(
        dead=status.dead_of_last,
        changes=status.last_changes,
        outage=why_unavailable(status.outage),
        gate=status.gate_seconds,
        held=why_held(status),
    )


def why_unavailable(outage: OutageStatus | None) -> str:
    """Return since when the PIM is unavailable, why, and when it is probed; empty if it is not."""
    if outage is None:
        return ""
    of_families = f" Calls of {', '.join(map(plain, outage.families))} failed." * bool(
        outage.families
    )
    return (
        f"PIM unavailable since {time_before(outage.seconds)}: "
        f"{_cause(outage.reason, outage.status, outage.message)}.{of_families} "
        f"{next_probe(outage.probe_in_seconds)}"
    )


def next_probe(seconds: float | None) -> str:
    """Return the sentence that says when the next probe may be sent."""
    if seconds is None:
        return "A probe is under way."
    return f"The next probe is due in {seconds:.0f} s."


def time_before(seconds: float) -> str:
    """Return the UTC time so many seconds ago, in ISO 8601."""
    return datetime.fromtimestamp(time.time() - seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def why_held(status: WorkStatus) -> str:
    """Return whose deletes wait for an operator, and what to do; empty if none do."""
    if not status.over_ceiling:
        return ""
    names = ", ".join(plain(name) for name in status.over_ceiling[:NAMES_SHOWN_MAX])
    if (more := len(status.over_ceiling) - NAMES_SHOWN_MAX) > 0:
        names += f" and {more:,} more"
    return (
        f"Deletes of {names} are held back (changes that wait: {status.held_changes:,}): more than "
        "DELETES_MAX_PER_HOUR in an hour. If they are meant, run `asset-sync release`."
    )


def failing_lines(families: Iterable[FamilyStatus]) -> Iterator[str]:
    """Yield a line for each family whose upserts or deletes fail while others succeed."""
    for one in families:
        if one.is_failing:
            yield f"[ ]failing family {plain(one.family)}: {why_failing(one)}"


def why_failing(family: FamilyStatus) -> str:
    """Return which calls of a family fail, with the PIM's last message."""
    return (
        " ".join(map(_words, family.failures))
        or "its calls fail while those of other families succeed"
    )


def _words(failure: FailureStatus) -> str:
    return (
        f"{_CALLS[failure.action]} fail since {time_before(failure.seconds)}, "
        f"{_cause(failure.reason, failure.status, failure.message)}. "
        f"{next_probe(failure.probe_in_seconds)}"
    )


def _cause(reason: str, status: int | None, message: str | None) -> str:
    """Return the reason of a failure, with the PIM's status and message."""
    shown_status = f" ({status})" if status is not None else ""
    shown_message = f": {plain(message).rstrip('.')}" if message else ""
    return f"{reason}{shown_status}{shown_message}"


def plain(text: str) -> str:
    """Return text from outside as one line without control characters, truncated if too long."""
    line = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(line.split())
    is_long = len(line) > MESSAGE_CHARACTERS_MAX
    return line[:MESSAGE_CHARACTERS_MAX] + "…" if is_long else line


def partition_state(
    status: WorkStatus, partition: PartitionStatus, lag: int, unread_seconds: float
) -> str:
    """Return whether a partition is idle, working, paused on purpose or stuck."""
    if _is_stuck(status, partition, unread_seconds):
        return "stuck"
    if partition.is_paused:
        return "paused on purpose"
    return "working" if lag or partition.pending else "idle"


def _is_stuck(status: WorkStatus, partition: PartitionStatus, unread_seconds: float) -> bool:
    """Return whether records should have come: Kafka has told of them for long, but none came."""
    if partition.is_paused or status.waits_for in {"assignment", "lease", "drain"}:
        return False
    quiet_seconds = time.time() - partition.progressed_utc_ms / 1000
    return min(quiet_seconds, unread_seconds) > PARTITION_QUIET_SECONDS_MAX
