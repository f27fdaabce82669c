"""Idle, paused on purpose or stuck: what `/livez` judges and says (contract §6).

Rule 1: a pause on purpose is progress, and so is waiting for Kafka or the PIM.
Rule 2: stuck is work that could go on and does not: only a restart helps.
"""

import time
from collections.abc import Iterator, Mapping

from service.core.model import Partition
from service.core.status import PartitionStatus, Status

PARTITION_QUIET_SECONDS_MAX = 300.0
"""How long a partition may have records to read and yield none, while nothing is in the way."""

REASONS = {
    "assignment": "no partition is assigned",
    "drain": "draining",
    "release": "most changes would be dead-lettered: look at them, then `asset-sync release`",
    "lease": "the group's coordinator does not acknowledge us",
    "commit": "outcomes cannot be committed",
    "pim": "the PIM is held for down",
    "throttling": "the PIM throttles",
}
"""Each reason to wait, for a person."""


def is_working(status: Status, quiet_seconds_max: float) -> bool:
    """Whether what is held moves on, or waits on purpose."""
    is_busy = status.held_changes > 0 and status.waits_for is None
    return not is_busy or status.silent_seconds <= quiet_seconds_max


def is_reading(status: Status, lags: Mapping[Partition, int]) -> bool:
    """Whether every partition that could be read is."""
    return not any(
        _is_stuck(status, partition, lags.get(partition.partition, 0))
        for partition in status.partitions
    )


def partition_lines(status: Status, lags: Mapping[Partition, int]) -> Iterator[str]:
    """A line a partition."""
    for one in status.partitions:
        topic, number = one.partition
        lag = lags.get(one.partition, 0)
        yield (
            f"[ ]{topic}/{number} {partition_state(status, one, lag)}: {lag} to read, "
            f"{one.held} unsettled, position {one.watermark + one.span}, committed {one.watermark}"
        )


def waiting_lines(status: Status) -> Iterator[str]:
    """Why nothing is sent at present."""
    if status.waits_for is not None:
        yield f"[ ]waiting: {REASONS[status.waits_for]}"
    if status.is_limit_reached:
        yield f"[ ]dead letters held back: {status.withheld_changes}"


def partition_state(status: Status, partition: PartitionStatus, lag: int) -> str:
    """Idle, working, paused on purpose, or stuck."""
    if _is_stuck(status, partition, lag):
        return "stuck"
    if partition.is_paused:
        return "paused on purpose"
    return "working" if lag or partition.held else "idle"


def _is_stuck(status: Status, partition: PartitionStatus, lag: int) -> bool:
    """The lease tells that Kafka is well: then records that are there must come."""
    if partition.is_paused or not lag or status.waits_for in {"assignment", "lease", "drain"}:
        return False
    return time.time() - partition.progressed_utc_ms / 1000 > PARTITION_QUIET_SECONDS_MAX
