"""Decide where a partition begins, by its committed position and its log (architecture.md D3).

Rule 1: a position is used only if the broker has its offset, and an offset map only with the
position for which it was written.
Rule 2: what is not used is reported, and the records above it are read, some of them again.
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
class Judgement:
    """Where to begin, and what has to be reported about it."""

    start: Start
    fact: PositionLost | OffsetMapUnused | None = None


def is_above_end(committed: Committed, log: Log, binding: Binding) -> bool:
    """Whether the position, or what is settled above it, is not on the broker.

    A topic that was created again, or a broker that lost records; or the broker is just starting.
    """
    try:
        committed_above = offset_map.decode(*committed, binding)
    except offset_map.RecreatedTopicError:
        return False  # its id proves it: a second look would show the same
    except offset_map.OffsetMapError:
        committed_above = frozenset()
    return max(committed.position, *(offset + 1 for offset in committed_above), 0) > log.last


def judge(
    topic_partition: TopicPartition, committed: Committed, log: Log, binding: Binding
) -> Judgement:
    """Where the partition begins.

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
        return Judgement(start, _unused(where, position, str(error), start))
    except offset_map.OffsetMapError as error:
        raise FatalError(_foreign(where, position, error)) from error
    if position > log.last:
        return _recreated(where, position, log, binding)
    if position < log.first:
        kept = frozenset(offset for offset in committed_above if offset >= log.first)
        message = (
            f"{where}: the records {position} to {log.first - 1} are no longer there (retention); "
            "going on at the earliest."
        )
        return Judgement(Start(log.first, kept, binding), PositionLost(message))
    if committed_above and max(committed_above) >= log.last:
        start = Start(position, binding=binding)
        last = max(committed_above)
        why = f"its offset map reaches to {last}, above the end {log.last} of the partition"
        return Judgement(start, _unused(where, position, why, start))
    return Judgement(Start(position, committed_above, binding))


def _recreated(where: str, position: int, log: Log, binding: Binding) -> Judgement:
    what = "is above the end" if position > log.last else "is of an earlier topic; the end is"
    message = (
        f"{where}: position {position} {what} {log.last}: the topic was re-created; "
        f"beginning at its start {log.first}."
    )
    return Judgement(Start(log.first, binding=binding), PositionLost(message))


def _unused(where: str, position: int, why: str, start: Start) -> OffsetMapUnused:
    return OffsetMapUnused(
        f"{where}: position {position} was not set by asset-sync as it stands: {why}. "
        f"The map is not used: every record from {start.position} on is read, and changes that "
        "were completed above get a second outcome. Was the position moved or copied "
        "(MirrorMaker, kafka-consumer-groups)?"
    )


def _foreign(where: str, position: int, error: Exception) -> str:
    return (
        f"{where}: {error}. Does another application use the group? Give asset-sync a group of "
        f"its own (ASSET_SYNC_KAFKA__GROUP_ID); or, to begin at {position} without an offset map, "
        "stop all members and set the position again with kafka-consumer-groups --reset-offsets."
    )
