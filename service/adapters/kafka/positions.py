"""Decide where a partition begins, by its committed position and its log (architecture.md D3).

Rule 1: a position is used only if the broker has its offset, and an offset map only with the
position for which it was written.
Rule 2: a position or an offset map that is not used is reported, and the records above it are read,
some of them again.
"""

from dataclasses import dataclass
from typing import NamedTuple

from aiokafka import TopicPartition

from service.core.facts import OffsetMapUnused, PositionLost
from service.core.inputs import Start
from service.core.model import Binding
from service.core.settle import offset_map
from service.ports import FatalError


class Committed(NamedTuple):
    """A committed position of the group, with its metadata."""

    position: int
    metadata: str


class Log(NamedTuple):
    """The range of offsets that the broker has of a partition."""

    first: int
    """The offset of the earliest record."""
    last: int
    """The offset that the next record will get."""


@dataclass(frozen=True, slots=True)
class StartDecision:
    """The start of a partition, and the fact to report about it."""

    start: Start
    fact: PositionLost | OffsetMapUnused | None = None


def is_above_end(committed: Committed, log: Log, binding: Binding) -> bool:
    """Whether the position, or a committed offset above it, is at or behind the end of the log.

    Then the topic was created again, the broker lost records, or the broker is still starting.
    """
    try:
        committed_above = offset_map.decode(*committed, binding)
    except offset_map.RecreatedTopicError:
        return False  # the topic id proves it, so a second look would show the same
    except offset_map.OffsetMapError:
        committed_above = frozenset()
    return max(committed.position, *(offset + 1 for offset in committed_above), 0) > log.last


def decide_start(
    topic_partition: TopicPartition, committed: Committed, log: Log, binding: Binding
) -> StartDecision:
    """Decide where the partition begins.

    Raises:
        FatalError: asset-sync did not write the metadata of the position.
    """
    where = f"{topic_partition.topic}/{topic_partition.partition}"
    position = committed.position
    try:
        committed_above = offset_map.decode(*committed, binding)
    except offset_map.RecreatedTopicError:
        return _recreated(where, position, log, binding)
    except offset_map.MisplacedMapError as error:
        if position > log.last:
            return _recreated(where, position, log, binding)
        start = Start(max(position, log.first), binding=binding)
        return StartDecision(start, _unused(where, position, str(error), start))
    except offset_map.OffsetMapError as error:
        raise FatalError(_foreign(where, position, error)) from error
    if position > log.last:
        return _recreated(where, position, log, binding)
    if position < log.first:
        kept = frozenset(offset for offset in committed_above if offset >= log.first)
        message = (
            f"{where}: the records at offsets {position} to {log.first - 1} were deleted before "
            f"they were read (retention). Reading resumes at the earliest record, {log.first}."
        )
        return StartDecision(Start(log.first, kept, binding), PositionLost(message))
    if committed_above and max(committed_above) >= log.last:
        start = Start(position, binding=binding)
        last = max(committed_above)
        why = f"its offset map contains {last}, but the partition ends at {log.last}"
        return StartDecision(start, _unused(where, position, why, start))
    return StartDecision(Start(position, committed_above, binding))


def _recreated(where: str, position: int, log: Log, binding: Binding) -> StartDecision:
    if position > log.last:
        why = f"is above the end of the partition, {log.last}"
    else:
        why = "was committed for an earlier topic of this name"
    message = (
        f"{where}: the committed offset {position} {why}: the topic was re-created. "
        f"Reading starts at its earliest record, {log.first}."
    )
    return StartDecision(Start(log.first, binding=binding), PositionLost(message))


def _unused(where: str, position: int, why: str, start: Start) -> OffsetMapUnused:
    return OffsetMapUnused(
        f"{where}: asset-sync did not commit the offset {position} with this metadata: {why}. "
        "Probably the offset was moved or copied (MirrorMaker, kafka-consumer-groups). The offset "
        f"map is not used: every record from {start.position} on is read, and changes that were "
        "completed before get a second outcome."
    )


def _foreign(where: str, position: int, error: Exception) -> str:
    return (
        f"{where}: {error}. If another application uses the group, give asset-sync a group of its "
        f"own (ASSET_SYNC_KAFKA__GROUP_ID). Otherwise, to begin at {position} without an offset "
        "map, stop all members and set the offset with kafka-consumer-groups --reset-offsets."
    )
